/**
 * The storage package against the raw engine, in one process and on one directory each: medians of several rounds.
 * Ratios matter, absolute figures depend on the machine.
 *
 * Run: `node bench/dist/storage.js [groups] [rounds]` (default 100000 groups, 3 rounds). Prints one JSON line a figure.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { type Actor, actorFromBytes, VersionVector } from "@coppice/crdt";
import {
  createGroupStore,
  encodeGroupId,
  type GroupSnapshot,
  type GroupStorage,
  type StorageBackend,
} from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { ClassicLevel } from "classic-level";

const BODY_BYTES = 200;
const CHUNK = 1000;
const ACTOR: Actor = actorFromBytes(new Uint8Array(16).fill(1));

interface Figure {
  readonly figure: string;
  readonly rawMs: number;
  readonly oursMs: number;
  readonly ratio: number;
  readonly cpuRatio: number;
  readonly goal: string;
  readonly [more: string]: unknown;
}

/** Noise: bodies that compress well would make the engine look better than it is. */
function bodyOf(index: number): Uint8Array {
  const body = new Uint8Array(BODY_BYTES);
  let state = index + 1;
  for (let at = 0; at < BODY_BYTES; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    body[at] = state >>> 24;
  }
  return body;
}

function snapshotOf(index: number, seq: number): GroupSnapshot {
  return {
    id: ["words", index],
    type: "counter",
    epoch: 1,
    vector: new VersionVector([[ACTOR, seq]]),
    frontier: [ACTOR],
    time: 1000 + seq,
    digest: [index, seq],
    journalPosition: 0,
    body: bodyOf(index + seq),
  };
}

interface Cost {
  readonly ms: number;
  /** Processor time of all threads: on a busy machine it tells more than the clock. */
  readonly cpuMs: number;
}

async function timed(task: () => Promise<unknown>): Promise<Cost> {
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  await task();
  const { user, system } = process.cpuUsage(cpu);
  return { ms: performance.now() - start, cpuMs: (user + system) / 1000 };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

type Raw = ClassicLevel<string, Uint8Array>;

async function openRaw(directory: string): Promise<Raw> {
  const raw: Raw = new ClassicLevel(directory, { valueEncoding: "view", writeBufferSize: 32 << 20 });
  await raw.open();
  return raw;
}

/** The same keys and values as ours, straight into the engine. */
async function rawPut(raw: Raw, entries: readonly (readonly [string, Uint8Array])[]): Promise<void> {
  for (let at = 0; at < entries.length; at += 2 * CHUNK) {
    const batch = raw.batch();
    for (const [key, value] of entries.slice(at, at + 2 * CHUNK)) batch.put(key, value);
    await batch.write({ sync: at + 2 * CHUNK >= entries.length });
  }
}

/** Every key and value in the engine that `backend` closed, as it is stored. */
async function entriesOf(directory: string): Promise<[string, Uint8Array][]> {
  const raw = await openRaw(join(directory, "db"));
  const entries = await raw.iterator().all();
  await raw.close();
  return entries;
}

async function commitAll(store: GroupStorage, from: number, upto: number, seq: number): Promise<void> {
  for (let at = from; at < upto; at += CHUNK) {
    const snapshots = Array.from({ length: Math.min(CHUNK, upto - at) }, (_, index) => snapshotOf(at + index, seq));
    await store.commit({ snapshots }, { sync: at + CHUNK >= upto });
  }
}

async function drainRaw(raw: Raw, values: boolean, gte: string, lt: string): Promise<number> {
  const iterator = values ? raw.iterator({ gte, lt }) : raw.keys({ gte, lt });
  let count = 0;
  for (;;) {
    const page = await iterator.nextv(1000);
    if (page.length === 0) break;
    count += page.length;
  }
  await iterator.close();
  return count;
}

async function inDirectory<Result>(task: (directory: string) => Promise<Result>): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "coppice-bench-"));
  try {
    return await task(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

function report(figure: string, raw: readonly Cost[], ours: readonly Cost[], goal: string, more = {}): void {
  const [rawMs, oursMs] = [median(raw.map(({ ms }) => ms)), median(ours.map(({ ms }) => ms))];
  const cpuRatio = round(median(ours.map(({ cpuMs }) => cpuMs)) / median(raw.map(({ cpuMs }) => cpuMs)));
  const line: Figure = {
    figure,
    rawMs: round(rawMs),
    oursMs: round(oursMs),
    ratio: round(oursMs / rawMs),
    cpuRatio,
    goal,
    ...more,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

async function snapshots(groups: number, rounds: number): Promise<void> {
  const [raw, sameBytes, ours]: [Cost[], Cost[], Cost[]] = [[], [], []];
  for (let index = 0; index < rounds; index++) {
    await inDirectory(async (directory) => {
      await using store = createGroupStore(levelStorage(directory));
      await store.open();
      ours.push(await timed(() => commitAll(store, 0, groups, 1)));
      await store.close();
      const entries = (await entriesOf(directory)).filter(([key]) => key !== "m");
      await inDirectory(async (other) => {
        const engine = await openRaw(other);
        sameBytes.push(await timed(() => rawPut(engine, entries)));
        await engine.close();
      });
      const bodies = Array.from({ length: groups }, (_, at) => {
        return [encodeGroupId(["words", at]), bodyOf(at)] as const;
      });
      await inDirectory(async (other) => {
        const engine = await openRaw(other);
        raw.push(await timed(() => rawPut(engine, bodies)));
        await engine.close();
      });
    });
  }
  report(`snapshot ${groups} groups of 200 B, synced; raw: same keys and values`, sameBytes, ours, "<= 1.3");
  report(`snapshot ${groups} groups of 200 B, synced; raw: the bodies alone`, raw, ours, "-");
}

async function tick(directory: string, groups: number, rounds: number): Promise<void> {
  const dirty = Math.max(1, Math.round(groups / 100));
  const [raw, ours, blocked]: [Cost[], Cost[], number[]] = [[], [], []];
  await using store = createGroupStore(levelStorage(directory));
  await store.open();
  await commitAll(store, 0, dirty, 2);
  for (let index = 0; index < rounds * 5; index++) {
    const changed = Array.from({ length: dirty }, (_, at) => snapshotOf(at, 3 + index));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    delay.enable();
    ours.push(await timed(() => store.commit({ snapshots: changed }, { sync: true })));
    delay.disable();
    blocked.push(delay.max / 1e6);
  }
  await store.close();
  await inDirectory(async (other) => {
    const engine = await openRaw(other);
    for (let index = 0; index < rounds * 5; index++) {
      const entries = Array.from({ length: dirty }, (_, at) => [`k${at}`, bodyOf(at + index)] as const);
      raw.push(await timed(() => rawPut(engine, entries)));
    }
    await engine.close();
  });
  report(`snapshot tick, ${dirty} of ${groups} groups dirty, synced; raw: the bodies alone`, raw, ours, "<= 2", {
    blockedMs: round(median(blocked)),
    blockedGoal: "< 5",
  });
}

async function reading(directory: string, groups: number, rounds: number): Promise<void> {
  const [keys, listing, values, loading, ready]: [Cost[], Cost[], Cost[], Cost[], Cost[]] = [[], [], [], [], []];
  for (let index = 0; index < rounds; index++) {
    const raw = await openRaw(join(directory, "db"));
    keys.push(await timed(() => drainRaw(raw, false, "kc", "kd")));
    values.push(await timed(() => drainRaw(raw, true, "ks", "kt")));
    await raw.close();
    const store = createGroupStore(levelStorage(directory));
    let count = 0;
    ready.push(
      await timed(async () => {
        await store.open();
        for await (const page of store.listGroups()) count += page.length;
      }),
    );
    if (count !== groups) throw new Error(`${count} groups listed instead of ${groups}`);
    listing.push(
      await timed(async () => {
        for await (const page of store.listGroups()) count += page.length;
      }),
    );
    loading.push(await timed(() => loadAll(store, groups)));
    await store.close();
  }
  report(`list ${groups} groups; raw: key scan of the rows`, keys, listing, "<= 1.5");
  report(`open and list ${groups} groups; raw: our listing`, listing, ready, "<= 1.5");
  report(`recover ${groups} groups of 200 B; raw: nextv of the snapshots`, values, loading, "<= 2");
}

async function loadAll(store: GroupStorage, groups: number): Promise<void> {
  let count = 0;
  for await (const page of store.listGroups()) {
    for (const group of await Promise.all(page.map(({ id }) => store.load(id)))) {
      if (group?.snapshot?.body.length !== BODY_BYTES) throw new Error("a body is missing");
      count++;
    }
  }
  if (count !== groups) throw new Error(`${count} groups loaded instead of ${groups}`);
}

/** Writes acknowledged at `sync` in a second, by one writer and by many at once. */
async function writers(rounds: number): Promise<void> {
  await inDirectory(async (directory) => {
    await using store = createGroupStore(levelStorage(directory));
    await store.open();
    const rates: Record<number, number[]> = { 1: [], 64: [] };
    for (let index = 0; index < rounds; index++) {
      for (const writers of [1, 64]) rates[writers]?.push(await writeRate(store, writers, `${index}-${writers}`));
    }
    const [one, many] = [median(rates[1] ?? []), median(rates[64] ?? [])];
    const line = { figure: "writes a second acknowledged at sync, 64 writers against 1", one, many };
    process.stdout.write(`${JSON.stringify({ ...line, ratio: round(many / one), goal: ">= 10" })}\n`);
  });
}

async function writeRate(store: GroupStorage, writers: number, name: string): Promise<number> {
  const ids = Array.from({ length: writers }, (_, index) => ["writer", `${name}-${index}`]);
  await store.commit({ created: ids.map((id) => ({ ...snapshotOf(0, 0), id, vector: new VersionVector() })) });
  const end = performance.now() + 1000;
  let count = 0;
  await Promise.all(
    ids.map(async (id) => {
      for (let position = 0; performance.now() < end; position++) {
        const record = { id, epoch: 1, position, count: 1, bytes: bodyOf(position) };
        await store.commit({ records: [record] }, { sync: true });
        count++;
      }
    }),
  );
  return count;
}

async function main(): Promise<void> {
  const { positionals } = parseArgs({ allowPositionals: true });
  const groups = Number(positionals[0] ?? 100_000);
  const rounds = Number(positionals[1] ?? 3);
  await snapshots(groups, rounds);
  await inDirectory(async (directory) => {
    const backend: StorageBackend = levelStorage(directory);
    const store = createGroupStore(backend);
    await store.open();
    await commitAll(store, 0, groups, 1);
    await store.close();
    await reading(directory, groups, rounds);
    await tick(directory, groups, rounds);
  });
  await writers(rounds);
}

await main();
