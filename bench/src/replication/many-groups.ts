import { type Node, createMemoryNetwork, createNode, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { inDirectory } from "./directory.ts";
import { type Figure, median, turn, until } from "./figure.ts";
import { type Recorded, recording } from "./recorder.ts";
import { Worker } from "./worker.ts";

const KEYS = ["name", "state", "owner", "since"];
/** Groups that differ. */
const CHANGED = 100;
const ROUNDS = 5;
/** Nothing but the reconciliation may be counted. */
const QUIET = { heartbeatMs: 1_000_000, syncIntervalMs: 1_000_000, snapshotIntervalMs: false } as const;

/** What a worker found of a node that starts on many stored groups. */
export interface Known {
  /** Milliseconds that listing the catalogue took, and starting a node on it. */
  readonly listMs: number;
  readonly readyMs: number;
  /** Milliseconds of processor time of both. */
  readonly listCpuMs: number;
  readonly readyCpuMs: number;
  /** Milliseconds until the first group was open then. */
  readonly openMs: number;
  /** Bytes in memory for each group that the node knows. */
  readonly bytesEach: number;
}

export function idOf(index: number): [string, string] {
  return ["words", `group-${String(index).padStart(6, "0")}`];
}

/** A data directory of a node that has written so many groups and closed. */
async function fill(path: string, groups: number): Promise<void> {
  await using node = await createNode({ types: [lwwMap()], storage: levelStorage(path), snapshotIntervalMs: false });
  for (let index = 0; index < groups; index++) {
    const replica = await node.open(idOf(index), lwwMap<string>());
    replica.mutate((map) => KEYS.forEach((key) => map.set(key, "value678")));
    replica.close();
    if (index % 100 === 0) await turn();
  }
}

interface Reconciliation {
  readonly ms: number;
  readonly bytes: number;
  readonly sketchBytes: number;
}

/** Two nodes hold the same groups; one changes some of them while there is no link; then there is one. */
async function reconcile(path: string, groups: number, changing: 0 | 1): Promise<Reconciliation> {
  const network = createMemoryNetwork();
  const frames: Recorded[] = [];
  const start = async (name: string): Promise<Node> => {
    const copy = join(path, name);
    await cp(join(path, "filled"), copy, { recursive: true });
    const transport = recording(name, network.transport(name), frames);
    return await createNode({ ...QUIET, types: [lwwMap()], storage: levelStorage(copy), transport });
  };
  await using a = await start(`a${changing}`);
  await using b = await start(`b${changing}`);
  const writer = changing === 0 ? a : b;
  const changed = Array.from({ length: CHANGED }, (_, index) => idOf(Math.floor((index * groups) / CHANGED)));
  for (const id of changed) {
    const replica = await writer.open(id, lwwMap<string>());
    await replica.mutate((map) => map.set("state", "changed9"));
    replica.close();
  }
  frames.length = 0;
  const startMs = performance.now();
  await a.connect(`memory:/b${changing}`);
  const areEqual = (): boolean => changed.every((id) => a.group(id)?.digest === b.group(id)?.digest);
  await until("both are equal", areEqual);
  const ms = performance.now() - startMs;
  const bytes = frames.reduce((sum, frame) => sum + frame.bytes.length, 0);
  // What passed before the first event: finding which groups differ.
  const last = frames.reduce((most, frame) => Math.max(most, frame.bytes.length), 0);
  const found = frames.findIndex((frame) => frame.bytes.length === last);
  const sketchBytes = frames.slice(0, found).reduce((sum, frame) => sum + frame.bytes.length, 0);
  return { ms, bytes, sketchBytes };
}

/** A node that knows so many groups and uses few of them. */
export async function manyGroups(groups: number): Promise<Figure[]> {
  return await inDirectory(async (path) => {
    await fill(join(path, "filled"), groups);
    const rounds: Known[] = [];
    using worker = new Worker();
    for (let round = 0; round < ROUNDS; round++) {
      rounds.push(await worker.ask<Known>("know", { path: join(path, "filled"), groups }));
    }
    const ratio = median(rounds.map(({ readyCpuMs, listCpuMs }) => readyCpuMs / listCpuMs));
    const bytesEach = median(rounds.map((round) => round.bytesEach));
    const name = `${groups} stored groups`;
    const there = await reconcile(path, groups, 0);
    const here = await reconcile(path, groups, 1);
    const bytes = Math.max(there.bytes, here.bytes);
    const ms = Math.max(there.ms, here.ms);
    const each = Math.max(there.sketchBytes, here.sketchBytes) / CHANGED;
    return [
      {
        name: `${name}: memory of an idle one`,
        measures: "mode log",
        value: bytesEach,
        unit: "B",
        goal: { text: "<= 200 B", isMet: bytesEach <= 200 },
      },
      {
        name: `${name}: ready to serve`,
        measures: "mode log",
        value: median(rounds.map(({ readyMs }) => readyMs)),
        unit: "ms",
        raw: { name: "ms listing them", value: median(rounds.map(({ listMs }) => listMs)) },
        // Of fewer groups a start without any takes most of the time.
        ...(groups >= 100_000 && { goal: { text: "<= 1.5 x", isMet: ratio <= 1.5 } }),
        note: `processor time ${ratio.toFixed(2)} x that of listing${groups >= 100_000 ? ", which the goal is held against" : ""}`,
      },
      {
        name: `${name}: open the first, once ready`,
        measures: "mode log",
        value: median(rounds.map(({ openMs }) => openMs)),
        unit: "ms",
      },
      {
        name: `${name}: reconcile ${CHANGED} that differ`,
        measures: "mode log",
        value: bytes,
        unit: "B",
        raw: { name: "B the changes", value: CHANGED * 16 },
        goal: { text: "<= 20 KB", isMet: bytes <= 20_000 },
        note: `${there.bytes} B when the side that compares has changed, ${here.bytes} B when the other has`,
      },
      {
        name: `${name}: finding one that differs`,
        measures: "mode log",
        value: each,
        unit: "B",
        goal: { text: "<= 80 B", isMet: each <= 80 },
      },
      {
        name: `${name}: reconcile ${CHANGED} that differ`,
        measures: "mode log",
        value: ms,
        unit: "ms",
        goal: { text: "<= 1 s", isMet: ms <= 1000 },
      },
    ];
  });
}
