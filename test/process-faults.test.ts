import { chmodSync, cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type GroupId, type StorageBackend, createNode, gCounter, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { inspectGroup } from "@coppice/storage";
import { libp2pTransport } from "coppice/libp2p";

import { describe, expect, onTestFinished, test } from "vitest";
import { NodeProcess, type StartOptions, startNode } from "./support/node-process.ts";
import { temporaryDirectory } from "./support/temporary.ts";

const MAP: GroupId = ["faults", "map"];
const BOOK: GroupId = ["faults", "book"];
const LISTEN = { listen: ["/ip4/127.0.0.1/tcp/0"], allow: "any" } as const;

async function errorOf(promise: Promise<unknown>): Promise<{ code: unknown; message: string }> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return { code: "code" in error ? error.code : error.name, message: error.message };
    throw error;
  }
  throw new Error("it did not fail");
}

function startError(options: StartOptions): Promise<{ code: unknown; message: string }> {
  return errorOf(startNode(options));
}

/** Everything in a LevelDB: keys with their values. */
async function contents(backend: StorageBackend): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const page of backend.scan()) {
    for (const { key, value } of page) found.set(key, Buffer.from(value).toString("hex"));
  }
  for await (const logs of backend.listLogs()) {
    for (const { log } of logs) {
      for await (const page of backend.readLog(log, 0)) {
        for (const { seq, value } of page) found.set(`${log} ${seq}`, Buffer.from(value).toString("hex"));
      }
    }
  }
  return found;
}

/** Runs something on the database of a node that is stopped. */
async function onDatabase<Result>(data: string, run: (backend: StorageBackend) => Promise<Result>): Promise<Result> {
  const backend = levelStorage(data);
  await backend.open();
  try {
    return await run(backend);
  } finally {
    await backend.close();
  }
}

/** Keys of stored snapshots begin with `s`, those of damaged records that were moved aside with `q`. */
async function keysOf(data: string, space: "s" | "q"): Promise<string[]> {
  const all = await onDatabase(data, contents);
  return [...all.keys()].filter((key) => key.startsWith(space)).toSorted();
}

/** Flips one byte in the middle of a value. */
async function damage(data: string, key: string): Promise<string> {
  return await onDatabase(data, async (backend) => {
    const value = await backend.get(key);
    if (value === undefined) throw new TypeError(`no ${key}`);
    const middle = value.length >> 1;
    value[middle] = (value[middle] ?? 0) ^ 0x10;
    await backend.write([{ op: "put", key, value }], { sync: true });
    return Buffer.from(value).toString("hex");
  });
}

/** So long that snapshots lie apart from their records, where they can rot alone. */
const LONG = "long ".repeat(150);

/** A directory with a map of `a`, `b` and `c` in two generations of snapshots, and `d` in the journal behind them. */
async function twoGenerations(): Promise<string> {
  const data = join(temporaryDirectory("faults"), "node");
  const node = await startNode({ data, types: ["map"], snapshotIntervalMs: false });
  await node.mutate(MAP, "map", [["set", "a", LONG]]);
  await node.snapshot();
  await node.mutate(MAP, "map", [["set", "b", 2]]);
  await node.mutate(MAP, "map", [["set", "c", 3]]);
  await node.snapshot();
  await node.mutate(MAP, "map", [["set", "d", 4]]);
  await node.kill();
  expect(await keysOf(data, "s")).toHaveLength(2);
  return data;
}

describe("a data directory", () => {
  test("in use by another process is refused as LOCKED, and the other is not disturbed", async () => {
    const data = join(temporaryDirectory("faults"), "node");
    const owner = await startNode({ data, types: ["map"] });
    await owner.mutate(MAP, "map", [["set", "mine", true]]);
    const refused = await startError({ data, types: ["map"] });
    expect(refused.code).toBe("LOCKED");
    expect(refused.message).toMatch(/in use by another process.*: stop the other process, .* use another directory/);
    expect(refused.message).toContain(data);
    await owner.mutate(MAP, "map", [["set", "still", true]]);
    // A lock does not outlive its process, however that ended.
    await owner.kill();
    const next = await startNode({ data, types: ["map"] });
    expect(await next.value(MAP, "map")).toEqual({ mine: true, still: true });
  });

  test("that cannot be written is refused with what to do, whether it exists or not", async () => {
    const folder = temporaryDirectory("faults");
    const data = join(folder, "node");
    const writer = await startNode({ data, types: ["map"] });
    await writer.mutate(MAP, "map", [["set", "kept", 1]]);
    await writer.stop();
    const before = await onDatabase(data, contents);
    for (const path of [join(data, "db"), data, folder]) chmodSync(path, 0o555);
    onTestFinished(() => {
      for (const path of [folder, data, join(data, "db")]) chmodSync(path, 0o755);
    });

    for (const path of [data, join(folder, "new")]) {
      const reader = new NodeProcess();
      await reader.dropPrivileges();
      const refused = await errorOf(reader.start({ data: path, types: ["map"] }));
      expect(refused.code).toBe("IO");
      expect(refused.message).toMatch(/make the directory and its files writable for this user/);
      expect(refused.message).toContain(path);
      await reader.kill();
    }
    for (const path of [folder, data, join(data, "db")]) chmodSync(path, 0o755);
    expect(readdirSync(folder)).toEqual(["node"]);
    expect(await onDatabase(data, contents)).toEqual(before);
  });

  test("whose newest snapshot is corrupt is recovered from the previous one and the journal; the rest is kept aside", async () => {
    const data = await twoGenerations();
    const stored = await onDatabase(data, (backend) => inspectGroup(backend, MAP));
    const apart = (stored?.snapshots ?? []).filter(({ key }) => key.startsWith("s"));
    const newest = apart.toSorted((one, other) => (other.generation ?? 0) - (one.generation ?? 0))[0];
    const damaged = await damage(data, newest?.key ?? "");

    const node = await startNode({ data, types: ["map"], snapshotIntervalMs: false });
    const report = await node.recover();
    expect(report.groups).toBe(1);
    expect(report.failed).toEqual([]);
    // The journal still reaches back to the previous generation, so nothing is missing.
    expect(await node.value(MAP, "map")).toEqual({ a: LONG, b: 2, c: 3, d: 4 });
    expect(report.degraded.map(({ id }) => id)).toEqual([MAP]);
    expect(node.notices.map(({ code }) => code)).toContain("STORAGE_DAMAGED");
    await node.mutate(MAP, "map", [["set", "e", 5]]);
    await node.kill();

    const [aside, ...more] = await keysOf(data, "q");
    expect(more).toEqual([]);
    expect(await onDatabase(data, async (backend) => (await contents(backend)).get(aside ?? ""))).toBe(damaged);
    const again = await startNode({ data, types: ["map"] });
    expect(await again.value(MAP, "map")).toEqual({ a: LONG, b: 2, c: 3, d: 4, e: 5 });
  });

  test("without one whole snapshot gets its content back from a peer, and its own new writes reuse nothing", async () => {
    const data = await twoGenerations();
    const peerData = join(temporaryDirectory("faults"), "peer");
    const peer = await startNode({ data: peerData, ...LISTEN, types: ["map"] });
    const before = await startNode({ data, ...LISTEN, peers: [peer.address], types: ["map"] });
    await expect.poll(() => peer.value(MAP, "map"), { timeout: 10_000 }).toEqual({ a: LONG, b: 2, c: 3, d: 4 });
    await before.stop();
    const damaged = [];
    for (const key of await keysOf(data, "s")) damaged.push(await damage(data, key));

    // Alone first: it says that something is missing, and keeps every byte.
    const alone = await startNode({ data, types: ["map"] });
    const report = await alone.recover();
    expect([...report.degraded, ...report.failed].map(({ id }) => id)).toEqual([MAP]);
    expect(alone.notices.map(({ code }) => code)).toContain("STORAGE_DAMAGED");
    await alone.mutate(MAP, "map", [["set", "alone", 1]]);
    await alone.stop();
    const kept = await onDatabase(data, contents);
    expect([...kept].filter(([key]) => key.startsWith("q")).map(([, value]) => value)).toEqual(
      expect.arrayContaining(damaged),
    );

    const node = await startNode({ data, ...LISTEN, peers: [peer.address], types: ["map"] });
    await node.mutate(MAP, "map", [["set", "after", 1]]);
    const whole = { a: LONG, b: 2, c: 3, d: 4, alone: 1, after: 1 };
    await expect.poll(() => node.value(MAP, "map"), { timeout: 10_000 }).toEqual(whole);
    await expect.poll(() => peer.value(MAP, "map"), { timeout: 10_000 }).toEqual(whole);
    expect(await node.state(MAP, "map")).toEqual(await peer.state(MAP, "map"));
  });

  test("that was copied and runs twice at once diverges nowhere and loses no write of either copy", async () => {
    const folder = temporaryDirectory("faults");
    const [data, copy, hubData] = [join(folder, "node"), join(folder, "copy"), join(folder, "hub")];
    const hub = await startNode({ data: hubData, ...LISTEN, types: ["map", "book"] });
    const first = await startNode({ data, ...LISTEN, peers: [hub.address], types: ["book"] });
    const write = (node: NodeProcess, key: string): Promise<string> =>
      node.mutate(BOOK, "book", [
        ["entries.set", key, node.id],
        ["count.increment", 1],
      ]);
    await write(first, "before");
    await first.stop();
    cpSync(data, copy, { recursive: true });

    const twins = await Promise.all(
      [data, copy].map((path) => startNode({ data: path, ...LISTEN, peers: [hub.address], types: ["book"] })),
    );
    expect(twins[0]?.id).toBe(twins[1]?.id);
    await Promise.all(
      twins.flatMap((twin, index) => Array.from({ length: 25 }, (_, n) => write(twin, `${index}-${n}`))),
    );
    const warned = (): string[] => [hub, ...twins].flatMap(({ notices }) => notices.map(({ code }) => code));
    await expect.poll(warned, { timeout: 10_000 }).toContain("DUPLICATE_IDENTITY");
    await Promise.all(twins.map((twin) => twin.stop()));

    // The advice of the notice: one of them gets an identity of its own. Then everything of both is everywhere.
    rmSync(join(copy, "secrets"), { recursive: true });
    const nodes = await Promise.all(
      [data, copy].map((path) => startNode({ data: path, ...LISTEN, peers: [hub.address], types: ["book"] })),
    );
    expect(nodes[0]?.id).not.toBe(nodes[1]?.id);
    const all = [hub, ...nodes];
    const counts = (): Promise<unknown[]> =>
      Promise.all(all.map(async (node) => ((await node.value(BOOK, "book")) as { count: number }).count));
    await expect.poll(counts, { timeout: 15_000 }).toEqual([51, 51, 51]);
    const states = await Promise.all(all.map((node) => node.state(BOOK, "book")));
    expect(new Set(states.map((state) => JSON.stringify(state))).size).toBe(1);
    const { entries } = (await hub.value(BOOK, "book")) as { entries: object };
    expect(Object.keys(entries)).toHaveLength(51);
  });
});

describe("an address", () => {
  test.each([
    [{ listen: ["127.0.0.1:4001"] }, /"127.0.0.1:4001" is no usable address: .*one looks like \/ip4\//],
    [{ listen: ["/ip4/127.0.0.1/udp/4001"] }, /\/udp is not supported/],
    [{ peers: ["/ip4/127.0.0.1"] }, /names no TCP port/],
    [{ peers: ["/dns4/example.org/tcp/99999"] }, /no usable address/],
  ])("that is no multiaddr is refused as BAD_ADDRESS before anything is opened: %j", async (options, message) => {
    const data = join(temporaryDirectory("faults"), "node");
    const start = async (): Promise<unknown> =>
      await createNode({ types: [gCounter], storage: levelStorage(data), transport: libp2pTransport(options) });
    const refused = await errorOf(start());
    expect(refused.code).toBe("BAD_ADDRESS");
    expect(refused.message).toMatch(message);
    expect(existsSync(data)).toBe(false);
  });

  test("that is taken is refused as BAD_ADDRESS, and nothing stays open", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const data = join(temporaryDirectory("faults"), "node");
    const process = new NodeProcess();
    const listen = [`/ip4/127.0.0.1/tcp/${port}`];
    const refused = await errorOf(process.start({ data, listen, types: ["map"] }));
    expect(refused.code).toBe("BAD_ADDRESS");
    expect(refused.message).toContain(String(port));
    // The same process may try again with another.
    await process.start({ data, listen: ["/ip4/127.0.0.1/tcp/0"], types: ["map"] });
  });

  test("given to connect is checked too, and one where nobody listens fails as DIAL_FAILED", async () => {
    const node = await startNode({ ...LISTEN, types: ["map"] });
    expect(await errorOf(node.connect("nonsense"))).toMatchObject({ code: "BAD_ADDRESS" });
    expect(await errorOf(node.connect(node.address))).toMatchObject({ code: "BAD_ADDRESS" });
    const nobody = await errorOf(node.connect("/ip4/127.0.0.1/tcp/1"));
    expect(nobody.code).toBe("DIAL_FAILED");
    expect(nobody.message).toContain("/ip4/127.0.0.1/tcp/1");
  });
});

describe("a peer that is not admitted", () => {
  test("is told so by code, on both sides, and gets nothing", async () => {
    const host = await startNode({ ...LISTEN, allow: [], types: ["map"] });
    await host.mutate(MAP, "map", [["set", "secret", 1]]);
    const guest = await startNode({ ...LISTEN, types: ["map"] });
    const refused = await errorOf(guest.connect(host.address));
    expect(refused.code).toBe("NOT_ADMITTED");
    expect(refused.message).toContain(`does not admit ${guest.id}; add that id to its \`allow\``);
    await expect.poll(() => host.notices.map(({ code }) => code)).toContain("NOT_ADMITTED");
    const notice = host.notices.find(({ code }) => code === "NOT_ADMITTED");
    expect(notice).toMatchObject({ peer: guest.id });
    expect(notice?.message).toContain("add its id to `allow`");
    expect([await host.peers(), await guest.peers()]).toEqual([[], []]);
    expect(await guest.groups()).toEqual([]);
  });
});

describe("a group", () => {
  test("of a type that a node has no code for is stored and relayed by it, and visible once it has the code", async () => {
    const data = join(temporaryDirectory("faults"), "relay");
    const relay = await startNode({ data, ...LISTEN, types: ["counter"] });
    const [left, right] = await Promise.all([
      startNode({ ...LISTEN, peers: [relay.address], types: ["book"] }),
      startNode({ ...LISTEN, peers: [relay.address], types: ["book"] }),
    ]);
    const write = (node: NodeProcess, key: string): Promise<string> =>
      node.mutate(BOOK, "book", [["entries.set", key, 1]]);
    await Promise.all([write(left, "left"), write(right, "right")]);
    const entries = async (node: NodeProcess): Promise<unknown> =>
      ((await node.value(BOOK, "book")) as { entries: unknown }).entries;
    await expect.poll(() => entries(right), { timeout: 10_000 }).toEqual({ left: 1, right: 1 });
    await expect.poll(() => entries(left), { timeout: 10_000 }).toEqual({ left: 1, right: 1 });
    expect(relay.notices.map(({ code }) => code)).toContain("UNKNOWN_TYPE");
    expect(await relay.groups()).toMatchObject([{ id: BOOK, type: "struct", isKnownType: false }]);
    const { digest } = await left.state(BOOK, "book");
    await expect.poll(async () => (await relay.groups())[0]?.digest).toBe(digest);

    // Still without the code after a restart, and alone: what it stored serves a node that has nothing.
    await Promise.all([relay.stop(), left.kill(), right.kill()]);
    const again = await startNode({ data, ...LISTEN, types: ["counter"] });
    const report = await again.recover();
    expect(report.unknown.map(({ id }) => id)).toEqual([BOOK]);
    expect(report.failed).toEqual([]);
    const late = await startNode({ ...LISTEN, peers: [again.address], types: ["book"] });
    await expect.poll(() => entries(late), { timeout: 10_000 }).toEqual({ left: 1, right: 1 });
    await again.kill();

    const knowing = await startNode({ data, types: ["book"] });
    expect((await knowing.recover()).unknown).toEqual([]);
    expect(await entries(knowing)).toEqual({ left: 1, right: 1 });
    expect(await knowing.state(BOOK, "book")).toEqual(await late.state(BOOK, "book"));
  });

  test("opened as another type is refused as TYPE_CONFLICT, also after a restart", async () => {
    const data = join(temporaryDirectory("faults"), "node");
    const node = await startNode({ data, types: ["counter", "map"] });
    await node.mutate(MAP, "map", [["set", "kept", 1]]);
    await node.stop();
    const again = await createNode({ types: [gCounter, lwwMap()], storage: levelStorage(data) });
    onTestFinished(() => again.close());
    const refused = await errorOf(again.open(MAP, gCounter));
    expect(refused.code).toBe("TYPE_CONFLICT");
    expect(refused.message).toMatch(/is of type lwwmap, not gcounter; open it with its own type, or delete it/i);
    expect((await again.open(MAP, lwwMap())).value()).toEqual({ kept: 1 });
  });

  test("of two types on two peers is reported as TYPE_CONFLICT on both, and merged on neither", async () => {
    const [a, b] = await Promise.all([
      startNode({ ...LISTEN, types: ["counter", "map"] }),
      startNode({ ...LISTEN, types: ["counter", "map"] }),
    ]);
    await a.mutate(MAP, "map", [["set", "kept", 1]]);
    await b.mutate(MAP, "counter", [["increment", 3]]);
    await b.connect(a.address);
    for (const node of [a, b]) {
      await expect.poll(() => node.notices.map(({ code }) => code), { timeout: 10_000 }).toContain("TYPE_CONFLICT");
    }
    expect(a.notices.find(({ code }) => code === "TYPE_CONFLICT")).toMatchObject({ peer: b.id });
    expect(b.notices.find(({ code }) => code === "TYPE_CONFLICT")).toMatchObject({ peer: a.id });
    // Writes go on, and so does what else the two share.
    await a.mutate(MAP, "map", [["set", "more", 2]]);
    await b.mutate(MAP, "counter", [["increment", 1]]);
    await a.mutate(["faults", "shared"], "counter", [["increment", 5]]);
    await expect.poll(() => b.value(["faults", "shared"], "counter"), { timeout: 10_000 }).toBe(5);
    expect(await a.value(MAP, "map")).toEqual({ kept: 1, more: 2 });
    expect(await b.value(MAP, "counter")).toBe(4);
  });
});
