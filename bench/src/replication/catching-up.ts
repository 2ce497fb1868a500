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
const GROUPS = 1_000;
const GROUP_KEYS = ["name", "state", "owner"];
const ROUNDS = 7;
const VALUE = "value678";
const GROUP = ["bench", "reconnect"] as const;
/** Nothing but the reconnection may be counted. */
const QUIET = { heartbeatMs: 1_000_000, syncIntervalMs: 1_000_000 };

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

/** A node with a thousand groups of three keys each, which others join. */
async function host(): Promise<{ node: Node; address: string; digests: string[] }> {
  const node = await createNode({
    types: [lwwMap()],
    transport: libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0"], allow: "any" }),
  });
  for (let index = 0; index < GROUPS; index++) {
    const replica = await node.open(["bench", `group-${index}`], lwwMap<string>());
    for (const key of GROUP_KEYS) replica.mutate((map) => map.set(key, VALUE));
  }
  await turn();
  return { node, address: node.addresses()[0] ?? "", digests: [...node.groups()].map(({ digest }) => digest) };
}

/** A raw libp2p node that sends as many bytes as a joining node got from ours, in a thousand pieces. */
async function rawHost(bytes: number): Promise<{ address: string; stop(): Promise<void> }> {
  const piece = new Uint8Array(Math.ceil(bytes / GROUPS));
  return await createRawNode((stream) => {
    onBytes(stream, () => {
      for (let index = 0; index < GROUPS; index++) stream.send(piece);
    });
  });
}

interface Joining {
  readonly ms: number;
  /** Until the link stood. */
  readonly linkMs: number;
  /** Received, in the middle of it. */
  readonly bytes: number;
}

/** How long a node that starts empty takes to have a thousand small groups of another process. */
export async function lateJoiner(): Promise<Figure[]> {
  using worker = new Worker();
  const { node, address, digests } = await host();
  const times = { memory: [] as number[], log: [] as number[], raw: [] as number[], links: [] as number[] };
  let bytes = 0;
  await inDirectory(async (path) => {
    for (let round = -2; round < ROUNDS; round++) {
      const memory = await worker.ask<Joining>("join", { address, digests });
      const log = await worker.ask<Joining>("join", { address, digests, data: join(path, String(round)) });
      ({ bytes } = memory);
      const raw = await rawHost(bytes);
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
  const value = median(times.memory);
  const raw = { name: "ms the same bytes, a send each, over raw libp2p", value: median(times.raw) };
  const name = `late joiner, ${GROUPS} small groups, with the dial`;
  const note = `${Math.round(bytes / 1000)} kB; the link stands after ${median(times.links).toFixed(1)} ms`;
  return [
    {
      name,
      measures: "replica in memory",
      value,
      unit: "ms",
      raw,
      goal: { text: "<= 100 ms", isMet: value <= 100 },
      note,
    },
    { name, measures: "mode log", value: median(times.log), unit: "ms", raw },
  ];
}
