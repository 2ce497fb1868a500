import { type Node, createMemoryNetwork, createNode, lwwMap } from "coppice";
import { libp2pTransport } from "coppice/libp2p";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inDirectory } from "./directory.ts";
import { type Figure, median, turn, until } from "./figure.ts";
import { createRawNode, onBytes } from "./raw-libp2p.ts";
import { type Recorded, recording } from "./recorder.ts";
import { Worker } from "./worker.ts";

const KEYS = 10_000;
const CHANGED = 10;
const SMALL: Content = { groups: 1_000, keys: ["name", "state", "owner"], value: "value678" };
const LARGE: Content = { groups: 100, keys: ["a", "b", "c", "d", "e"], value: "v".repeat(100_000) };
const ROUNDS = 7;
const VALUE = "value678";
const GROUP = ["bench", "reconnect"] as const;
/** Nothing but the reconnection may be counted. */
const QUIET = { heartbeatMs: 1_000_000, syncIntervalMs: 1_000_000 };

/** What a host has: in each of its groups the same value under some keys. */
interface Content {
  readonly groups: number;
  readonly keys: readonly string[];
  readonly value: string;
}

interface Reconnection {
  readonly bytes: number;
  readonly frames: readonly Recorded[];
  /** Bytes that a link costs when nothing has changed. */
  readonly idleBytes: number;
}

function bytesOf(frames: readonly Recorded[]): number {
  return frames.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** Two nodes with the same 10 000 keys lose their link, one changes 10 of them, and the link comes back. */
async function reconnect(): Promise<Reconnection> {
  const network = createMemoryNetwork();
  const frames: Recorded[] = [];
  const start = (name: string): Promise<Node> =>
    createNode({ ...QUIET, types: [lwwMap()], transport: recording(name, network.transport(name), frames) });
  await using a = await start("a");
  await using b = await start("b");
  const left = await a.open(GROUP, lwwMap<string>());
  for (let index = 0; index < KEYS; index++) {
    left.mutate((map) => map.set(`key${String(index).padStart(5, "0")}`, VALUE));
    if (index % 100 === 0) await turn();
  }
  await a.connect("memory:/b");
  const right = await b.open(GROUP, lwwMap<string>());
  const areEqual = (): boolean => left.digest() === right.digest();
  const again = async (): Promise<void> => {
    frames.length = 0;
    await a.connect("memory:/b");
    await until("both are equal again", areEqual);
    await sleep(50);
  };
  await until("both are equal", areEqual);
  await a.disconnect("b");
  await again();
  const idleBytes = bytesOf(frames);
  await a.disconnect("b");
  for (let index = 0; index < CHANGED; index++) {
    left.mutate((map) => map.set(`key${String(index * 997).padStart(5, "0")}`, "changed9"));
  }
  await again();
  return { bytes: bytesOf(frames), frames: [...frames], idleBytes };
}

function describeFrames(frames: readonly Recorded[]): string {
  return frames.map(({ from, bytes }) => `${from === "a" ? "->" : "<-"} ${bytes.length}`).join(", ");
}

/** What a reconnection costs when few of many keys have changed. */
export async function reconnection(): Promise<Figure[]> {
  const { bytes, frames, idleBytes } = await reconnect();
  return [
    {
      name: `reconnect with ${CHANGED} of ${KEYS} keys changed`,
      measures: "replica in memory",
      value: bytes,
      unit: "B",
      raw: { name: "B the changes", value: CHANGED * 16 },
      goal: { text: "<= 600 B", isMet: bytes <= 600 },
      note: `frames ${describeFrames(frames)}; with nothing changed ${idleBytes} B`,
    },
  ];
}

/** A node with many groups, which others join. */
async function host({ groups, keys, value }: Content): Promise<{ node: Node; address: string; digests: string[] }> {
  const node = await createNode({
    types: [lwwMap()],
    transport: libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0"], allow: "any" }),
  });
  const digests: (() => string)[] = [];
  for (let index = 0; index < groups; index++) {
    const replica = await node.open(["bench", `group-${index}`], lwwMap<string>());
    for (const key of keys) replica.mutate((map) => map.set(key, value));
    digests.push(() => replica.digest());
  }
  await turn();
  return { node, address: node.addresses()[0] ?? "", digests: digests.map((digest) => digest()) };
}

/** A raw libp2p node that sends as many bytes as a joining node got from ours, in pieces. */
async function rawHost(bytes: number, pieces: number): Promise<{ address: string; stop(): Promise<void> }> {
  const piece = new Uint8Array(Math.ceil(bytes / pieces));
  return await createRawNode((stream) => {
    let left = pieces;
    const send = (): void => {
      while (left > 0) {
        left--;
        if (!stream.send(piece)) return stream.addEventListener("drain", send, { once: true });
      }
    };
    onBytes(stream, send);
  });
}

interface Joining {
  readonly ms: number;
  /** Until the link stood. */
  readonly linkMs: number;
  /** Received, in the middle of it. */
  readonly bytes: number;
}

interface Times {
  /** Medians, in milliseconds. */
  readonly memory: number;
  readonly log: number;
  readonly raw: number;
  readonly link: number;
  /** Received. */
  readonly bytes: number;
}

/** How long a node that starts empty takes to have all groups of another process. */
async function measureJoins(content: Content, pieces: number): Promise<Times> {
  using worker = new Worker();
  const { node, address, digests } = await host(content);
  const times = { memory: [] as number[], log: [] as number[], raw: [] as number[], links: [] as number[] };
  let bytes = 0;
  await inDirectory(async (path) => {
    for (let round = -2; round < ROUNDS; round++) {
      const memory = await worker.ask<Joining>("join", { address, digests });
      const log = await worker.ask<Joining>("join", { address, digests, data: join(path, String(round)) });
      ({ bytes } = memory);
      const raw = await rawHost(bytes, pieces);
      const rawMs = await worker.ask<number>("joinRaw", { address: raw.address, bytes });
      await raw.stop();
      if (round < 0) continue;
      times.memory.push(memory.ms);
      times.log.push(log.ms);
      times.raw.push(rawMs);
      times.links.push(memory.linkMs);
    }
  });
  await node.close();
  return {
    memory: median(times.memory),
    log: median(times.log),
    raw: median(times.raw),
    link: median(times.links),
    bytes,
  };
}

/** How long a node that comes late takes to have what another process has: very many small groups, or much content. */
export async function lateJoiner(): Promise<Figure[]> {
  const small = await measureJoins(SMALL, SMALL.groups);
  const smallRaw = { name: "ms the same bytes, a send each, over raw libp2p", value: small.raw };
  const smallName = `late joiner, ${SMALL.groups} small groups, with the dial`;
  const note = `${Math.round(small.bytes / 1000)} kB; the link stands after ${small.link.toFixed(1)} ms`;
  const goal = { text: "<= 100 ms", isMet: small.memory <= 100 };
  const large = await measureJoins(LARGE, 1000);
  const megabytes = Math.round(large.bytes / 1e6);
  const largeRaw = { name: "ms the same bytes over raw libp2p", value: large.raw };
  const largeName = `late joiner, ${LARGE.groups} groups, together ${megabytes} MB, with the dial`;
  const inMs = { unit: "ms" } as const;
  return [
    { ...inMs, name: smallName, measures: "replica in memory", value: small.memory, raw: smallRaw, goal, note },
    { ...inMs, name: smallName, measures: "mode log", value: small.log, raw: smallRaw },
    { ...inMs, name: largeName, measures: "replica in memory", value: large.memory, raw: largeRaw },
    { ...inMs, name: largeName, measures: "mode log", value: large.log, raw: largeRaw },
  ];
}
