import { type NodeOptions, createMemoryNetwork, createNode, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { join } from "node:path";
import * as Y from "yjs";
import { inDirectory } from "./directory.ts";
import { type Figure, cpuNs, median, nowNs, turn, until } from "./figure.ts";
import { Puppet, type Recorded, recording } from "./recorder.ts";

const KEYS = 20_000;
/** Writes of one tick, which travel together; and those of one Yjs transaction. */
const BATCH = 100;
const ROUNDS = 21;
/** Enough for all to be compiled. */
const WARM_UP_ROUNDS = 20;
const VALUE = "value678";
const GROUP = ["bench", "remote"] as const;
const keys: readonly string[] = Array.from({ length: KEYS }, (_, index) => `key${String(index).padStart(5, "0")}`);

/** What a node says to a peer while it writes `KEYS` keys, one event each. */
async function record(): Promise<Uint8Array[]> {
  const network = createMemoryNetwork();
  const frames: Recorded[] = [];
  const types = [lwwMap()];
  await using source = await createNode({ types, transport: recording("a", network.transport("a"), frames) });
  await using sink = await createNode({ types, transport: network.transport("b") });
  await source.connect("memory:/b");
  const replica = await source.open(GROUP, lwwMap<string>());
  const copy = await sink.open(GROUP, lwwMap<string>());
  await copy.synced();
  for (let start = 0; start < KEYS; start += BATCH) {
    for (const key of keys.slice(start, start + BATCH)) replica.mutate((map) => map.set(key, VALUE));
    await turn();
  }
  await until("the writes have arrived", () => copy.status.events === KEYS);
  return frames.map(({ bytes }) => bytes);
}

/** How long something took. */
interface Time {
  readonly wallNs: number;
  readonly cpuNs: number;
}

function timer(): () => Time {
  const [startNs, startCpuNs] = [nowNs(), cpuNs()];
  return () => ({ wallNs: nowNs() - startNs, cpuNs: cpuNs() - startCpuNs });
}

/** Feeds a new node what was recorded; returns how long it takes until all is applied, and with a journal committed. */
async function replay(frames: readonly Uint8Array[], options: Partial<NodeOptions>): Promise<Time> {
  const puppet = new Puppet("b", "a");
  await using node = await createNode({ ...options, types: [lwwMap()], transport: puppet });
  const replica = await node.open(GROUP, lwwMap<string>());
  puppet.link();
  await turn();
  const stop = timer();
  // A turn of the event loop each, as with a socket.
  for (const frame of frames) {
    puppet.say(frame);
    await turn();
  }
  await until("everything is applied", () => replica.status.events === KEYS);
  await node.sync();
  return stop();
}

function yjsUpdates(): Uint8Array[] {
  const updates: Uint8Array[] = [];
  const doc = new Y.Doc();
  doc.on("update", (update: Uint8Array) => updates.push(update));
  for (let start = 0; start < KEYS; start += BATCH) {
    doc.transact(() => keys.slice(start, start + BATCH).forEach((key) => doc.getMap("map").set(key, VALUE)));
  }
  return updates;
}

async function yjsApply(updates: readonly Uint8Array[]): Promise<Time> {
  const doc = new Y.Doc();
  const stop = timer();
  for (const update of updates) {
    Y.applyUpdate(doc, update);
    await turn();
  }
  return stop();
}

/** Keys and values as bytes, a batch each. */
function bareFrames(): Uint8Array[] {
  return Array.from({ length: KEYS / BATCH }, (_, batch) => {
    const text = keys.slice(batch * BATCH, (batch + 1) * BATCH).map((key) => key + VALUE);
    return new TextEncoder().encode(text.join(""));
  });
}

/**
 * The least that keeps received writes readable in a plain map: of each a key, a value, an object that holds the value with
 * its actor, sequence number and time, and an entry.
 */
async function bareApply(frames: readonly Uint8Array[]): Promise<Time> {
  const map = new Map<string, { value: string; actor: number; seq: number; time: number }>();
  const stop = timer();
  let seq = 0;
  for (const frame of frames) {
    for (let at = 0; at < frame.length; at += 16) {
      seq++;
      map.set(eightLetters(frame, at), { value: eightLetters(frame, at + 8), actor: 0, seq, time: 1e12 + seq });
    }
    await turn();
  }
  return stop();
}

/** Faster than a loop, or a decoder. */
function eightLetters(bytes: Uint8Array, at: number): string {
  const code = (offset: number): number => bytes[at + offset] as number;
  return String.fromCharCode(code(0), code(1), code(2), code(3), code(4), code(5), code(6), code(7));
}

/**
 * The times of some rounds. The subjects come one after the other: in turns, the garbage of each, and what the threads of
 * LevelDB still do for the last one, would fall into the time of the next.
 */
async function rounds(subject: (round: number) => Promise<Time>): Promise<Time[]> {
  const times: Time[] = [];
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    const time = await subject(round);
    if (round >= 0) times.push(time);
  }
  return times;
}

/** Remote writes applied a second, received in batches of one tick each. */
export async function remoteApply(): Promise<Figure[]> {
  const frames = await record();
  const updates = yjsUpdates();
  const bare = bareFrames();
  const taken = {
    memory: await rounds(() => replay(frames, {})),
    raw: await rounds(() => bareApply(bare)),
    yjs: await rounds(() => yjsApply(updates)),
    log: await inDirectory((path) =>
      rounds((round) => replay(frames, { storage: levelStorage(join(path, String(round))) })),
    ),
  };
  const rate = (times: readonly Time[]): { readonly value: number; readonly cpuNs: number } => ({
    value: (KEYS * 1e9) / median(times.map(({ wallNs }) => wallNs)),
    cpuNs: median(times.map(({ cpuNs: cpu }) => cpu)) / KEYS,
  });
  const yjs = { name: `Y.applyUpdate, ${BATCH} an update`, ...rate(taken.yjs) };
  const raw = { name: "/s a bare loop that fills a Map", value: rate(taken.raw).value };
  const memory = rate(taken.memory);
  const name = `remote map set applied, ${BATCH} events a frame`;
  return [
    {
      name,
      measures: "replica in memory",
      ...memory,
      unit: "/s",
      raw,
      other: yjs,
      goal: { text: ">= 0.5 x raw", isMet: memory.value >= raw.value / 2 },
      note: `the bare loop is ${(raw.value / yjs.value).toFixed(1)} x Y.applyUpdate`,
    },
    { name, measures: "mode log", ...rate(taken.log), unit: "/s", raw, other: yjs },
  ];
}
