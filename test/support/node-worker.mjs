// One node in a process of its own, driven by its parent over IPC; see node-process.ts. Runs the built packages.
import { createHash } from "node:crypto";
import { createNode, gCounter, lwwMap, lwwRegister, struct } from "coppice";
import { levelStorage } from "coppice/level";

/** The types by the names that the parent uses. */
const TYPES = new Map([
  ["counter", gCounter],
  ["register", lwwRegister()],
  ["map", lwwMap()],
  ["book", struct({ entries: lwwMap(), count: gCounter })],
]);

let node;
const replicas = new Map();

function typeOf(name) {
  const type = TYPES.get(name);
  if (type === undefined) throw new TypeError(`no type ${name}`);
  return type;
}

async function replicaOf(id, type) {
  const key = JSON.stringify(id);
  const open = replicas.get(key);
  if (open !== undefined) return open;
  const replica = await node.open(id, typeOf(type));
  replicas.set(key, replica);
  return replica;
}

/** The same text for equal values: the order of keys is each node's own. */
function canonical(value) {
  return JSON.stringify(value, (_, inner) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Calls `entries.set` and the like on a mutator. */
function perform(mutator, [path, ...args]) {
  const names = path.split(".");
  const method = names.pop();
  const target = names.reduce((inner, name) => inner[name], mutator);
  return target[method](...args);
}

const commands = {
  async start({ data, listen, peers, allow, types, ...options }) {
    // Loading libp2p takes longer than everything else that a process does at its start.
    const { libp2pTransport } = listen === undefined ? {} : await import("coppice/libp2p");
    node = await createNode({
      ...options,
      types: types.map(typeOf),
      ...(data !== undefined && { storage: levelStorage(data) }),
      ...(listen !== undefined && { transport: libp2pTransport({ listen, peers, allow }) }),
      onNotice: (notice) => process.send({ notice }),
    });
    return { id: node.id, incarnation: node.incarnation, addresses: node.addresses() };
  },
  async recover() {
    const report = await node.recover();
    return { ...report, durationMs: undefined };
  },
  async open({ id, type }) {
    await replicaOf(id, type);
  },
  async synced({ id, type }) {
    await (await replicaOf(id, type)).synced();
  },
  /** One atomic write. */
  async mutate({ id, type, operations, ack }) {
    const replica = await replicaOf(id, type);
    const write = replica.mutate(
      (mutator) => operations.forEach((operation) => void perform(mutator, operation)),
      ack === undefined ? {} : { ack },
    );
    await write;
    return write.sessionToken;
  },
  /** The value, at least as new as a session token says, or as what the members of `from` know. */
  async read({ id, type, token, from }) {
    const replica = await replicaOf(id, type);
    if (token !== undefined) await replica.atLeast(token);
    if (from !== undefined) await replica.readBarrier({ from });
    return { value: replica.value(), token: replica.sessionToken() };
  },
  /** `count` writes of one key each, awaited together. */
  async fill({ id, prefix, count, bytes }) {
    const replica = await replicaOf(id, "map");
    const value = "x".repeat(bytes);
    await Promise.all(
      Array.from({ length: count }, (_, index) => replica.mutate((map) => map.set(prefix + index, value))),
    );
  },
  async value({ id, type }) {
    return (await replicaOf(id, type)).value();
  },
  /** What must be equal on replicas that have converged. */
  async state({ id, type }) {
    const replica = await replicaOf(id, type);
    const value = createHash("sha256").update(canonical(replica.value())).digest("hex");
    return { digest: replica.digest(), contentHash: replica.contentHash(), value };
  },
  async groups() {
    return [...node.groups()];
  },
  async peers() {
    return node.peers();
  },
  async connect({ address }) {
    return await node.connect(address);
  },
  async snapshot() {
    await node.snapshot();
  },
  /** Root may write everywhere: tests of permissions go on as nobody. */
  async dropPrivileges() {
    if (process.getuid() !== 0) return;
    process.setgid(65534);
    process.setuid(65534);
  },
  async close() {
    await node.close();
  },
};

async function serve({ call, method, params }) {
  try {
    process.send({ call, result: await commands[method](params) });
  } catch (error) {
    process.send({
      call,
      error: { name: error.name, code: error.code, message: error.message, cause: String(error.cause) },
    });
  }
}

process.on("message", (message) => void serve(message));
// A parent that is gone wants nothing any more.
process.on("disconnect", () => process.exit());
process.send({ ready: true });
