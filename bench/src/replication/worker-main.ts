/** The other process of a measurement: takes commands from its parent, one at a time; see `worker.ts`. */
import { type Node, type Replica, createNode, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { libp2pTransport } from "coppice/libp2p";
import { type AddressInfo, createServer } from "node:net";
import { answerCommands } from "./commands.ts";
import { nowNs, turn } from "./figure.ts";
import { heapOfIdleGroups, heapOfIds, heapOfMaps, heapOfOpenGroups } from "./heap.ts";
import { know } from "./know.ts";
import { GROUP, PROBE } from "./shared.ts";
import { type RawNode, createRawNode, onBytes } from "./raw-libp2p.ts";

let node: Node | undefined;
let raw: RawNode | undefined;
let expected: { readonly events: number; readonly reached: (atNs: number) => void } | undefined;
/** Nanoseconds that each probe has travelled. */
let samples: number[] = [];
let received = 0;
let reachedAt: Promise<number> = Promise.resolve(0);

function watch(replica: Replica<object, { get(key: string): number | undefined }>): void {
  replica.subscribe(({ keys, origin }) => {
    const atNs = nowNs();
    if (origin === "remote" && keys.includes(PROBE)) {
      samples.push(atNs - (replica.read((map) => map.get(PROBE)) ?? Number.NaN));
    }
    if (expected !== undefined && replica.status.events >= expected.events) expected.reached(atNs);
  });
}

function count(joining: Node): number {
  return joining.countGroups().get("bench") ?? 0;
}

/** Whether each group has the digest that it has there. */
function isAsThere(joining: Node, digests: readonly string[]): boolean {
  return digests.every((digest, index) => joining.group(["bench", `group-${index}`])?.digest === digest);
}

answerCommands({
  /** A node that watches the group; answers with its address. */
  async listen({ data }: { data?: string }) {
    await node?.close();
    node = await createNode({
      types: [lwwMap()],
      ...(data !== undefined && { storage: levelStorage(data) }),
      transport: libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0"], allow: "any" }),
    });
    watch(await node.open(GROUP, lwwMap<number>()));
    return node.addresses()[0];
  },
  samples() {
    const taken = samples;
    samples = [];
    return taken;
  },
  /** Answers, at once, that it will tell when so many events are there; `reached` waits for it. */
  expect({ events }: { events: number }) {
    reachedAt = new Promise((resolve) => (expected = { events, reached: resolve }));
  },
  reached: () => reachedAt,

  /** A raw libp2p node whose peers send it the time. */
  async listenRaw() {
    raw = await createRawNode((stream) =>
      onBytes(stream, (bytes) => {
        const atNs = nowNs();
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        for (let at = 0; at + 8 <= bytes.length; at += 8) samples.push(atNs - view.getFloat64(at));
      }),
    );
    return raw.address;
  },

  /** A TCP server that counts bytes; `reached` tells when all have come. */
  listenTcp({ bytes }: { bytes: number }) {
    received = 0;
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on("data", (chunk) => {
        received += chunk.length;
        if (received < bytes) return;
        expected?.reached(nowNs());
        server.close();
        socket.destroy();
      });
    });
    reachedAt = new Promise((resolve) => (expected = { events: 0, reached: resolve }));
    return new Promise((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)),
    );
  },

  /** Joins a host with a new node; answers how long it takes until the groups have the digests, in order, of there. */
  async join({ address, data, digests }: { address: string; data?: string; digests: readonly string[] }) {
    const joining = await createNode({
      types: [lwwMap()],
      ...(data !== undefined && { storage: levelStorage(data) }),
      transport: libp2pTransport(),
    });
    const startNs = nowNs();
    await joining.connect(address);
    const linkedNs = nowNs();
    let endNs: number;
    do {
      await turn();
      // Nothing comes while it looks: what it sees was there before.
      endNs = nowNs();
      if (endNs - startNs > 20e9) throw new Error(`${count(joining)} of ${digests.length} groups have come`);
    } while (count(joining) < digests.length || !isAsThere(joining, digests));
    const bytes = joining.peers()[0]?.bytesIn ?? 0;
    await joining.close();
    return { ms: (endNs - startNs) / 1e6, linkMs: (linkedNs - startNs) / 1e6, bytes };
  },
  /** The same bytes from a raw libp2p node. */
  async joinRaw({ address, bytes }: { address: string; bytes: number }) {
    const joining = await createRawNode();
    const startNs = nowNs();
    const stream = await joining.dial(address);
    let left = bytes;
    await new Promise<void>((resolve) => {
      onBytes(stream, (chunk) => {
        left -= chunk.length;
        if (left <= 0) resolve();
      });
      stream.send(Uint8Array.of(1));
    });
    const ms = (nowNs() - startNs) / 1e6;
    await joining.stop();
    return ms;
  },

  heapOfOpenGroups,
  heapOfIdleGroups,
  heapOfIds,
  heapOfMaps,
  /** A node that starts on many stored groups. */
  know,
});
