/**
 * The group store over LevelDB beside LevelDB itself: the same bytes, or less, in the same process, in turns.
 *
 * Run: `node bench/dist/storage.js [groups] [rounds]` (default 100000 groups, 5 rounds). Prints one table: medians of
 * both sides in milliseconds, and medians of the ratios of each round, by the clock and by processor time (all threads;
 * on a busy machine it tells more). Every input is made before the clock runs. A first, small round is not counted.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Actor, actorFromBytes, VersionVector } from "@coppice/crdt";
import { createGroupStore, encodeGroupId, type GroupSnapshot, type GroupStorage } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { ClassicLevel } from "classic-level";
import { putLeast } from "./least-put.ts";
import { inDirectory } from "./replication/directory.ts";
import { median } from "./replication/figure.ts";

const BODY_BYTES = 200;
/** Groups in a commit, and in a chained batch. */
const CHUNK = 1000;
const TICKS_PER_ROUND = 45;
const WRITERS_MS = 1000;
const ACTOR: Actor = actorFromBytes(new Uint8Array(16).fill(1));

type Raw = ClassicLevel<string, Uint8Array>;
type Entries = readonly (readonly [key: string, value: Uint8Array])[];

interface Cost {
  readonly ms: number;
  readonly cpuMs: number;
}

/** The clock stops when `task` is done. Processor time counts what an engine still does of it until it is closed. */
async function timed(task: () => Promise<unknown>, engine?: { close(): Promise<void> }): Promise<Cost> {
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  await task();
  const ms = performance.now() - start;
  await engine?.close();
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpuMs: (user + system) / 1000 };
}

/** What both sides took in each round. */
class Series {
  readonly #raw: Cost[] = [];
  readonly #ours: Cost[] = [];

  /** Runs both sides, the one first in even rounds, the other in odd ones. */
  async round(raw: () => Promise<Cost>, ours: () => Promise<Cost>): Promise<void> {
    const rawFirst = this.#raw.length % 2 === 0;
    if (rawFirst) this.#raw.push(await raw());
    this.#ours.push(await ours());
    if (!rawFirst) this.#raw.push(await raw());
  }

  row(figure: string, goal: string): Row {
    const ratio = (by: keyof Cost): string =>
      median(this.#ours.map((cost, index) => cost[by] / (this.#raw[index]?.[by] ?? Number.NaN))).toFixed(2);
    const ms = (costs: readonly Cost[]): string => median(costs.map((cost) => cost.ms)).toFixed(1);
    return [figure, ms(this.#raw), ms(this.#ours), ratio("ms"), ratio("cpuMs"), goal];
  }
}

type Row = readonly [figure: string, raw: string, ours: string, ratio: string, cpuRatio: string, goal: string];

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

function snapshotsOf(groups: number, seq: number): GroupSnapshot[] {
  return Array.from({ length: groups }, (_, index) => snapshotOf(index, seq));
}

function bodiesOf(groups: number, seq: number): Entries {
  return Array.from({ length: groups }, (_, index) => [encodeGroupId(["words", index]), bodyOf(index + seq)]);
}

async function openRaw(directory: string): Promise<Raw> {
  const raw: Raw = new ClassicLevel(directory, { valueEncoding: "view", writeBufferSize: 32 << 20 });
  await raw.open();
  return raw;
}

/** Chained batches of `size`, the last one synced. */
async function rawPut(raw: Raw, entries: Entries, size: number): Promise<void> {
  for (let at = 0; at < entries.length; at += size) {
    const batch = raw.batch();
    for (const [key, value] of entries.slice(at, at + size)) batch.put(key, value);
    await batch.write({ sync: at + size >= entries.length });
  }
}

async function rawRead(raw: Raw, values: boolean): Promise<void> {
  const range = { gte: "c", lt: "d", highWaterMarkBytes: 1 << 20 };
  const iterator = values ? raw.iterator(range) : raw.keys(range);
  while ((await iterator.nextv(1000)).length > 0);
  await iterator.close();
}

async function commitAll(store: GroupStorage, snapshots: readonly GroupSnapshot[]): Promise<void> {
  for (let at = 0; at < snapshots.length; at += CHUNK) {
    const sync = at + CHUNK >= snapshots.length;
    await store.commit({ snapshots: snapshots.slice(at, at + CHUNK) }, { sync });
  }
}

async function withRaw<Result>(directory: string, task: (raw: Raw) => Promise<Result>): Promise<Result> {
  const raw = await openRaw(directory);
  try {
    return await task(raw);
  } finally {
    await raw.close();
  }
}

async function withStore<Result>(directory: string, task: (store: GroupStorage) => Promise<Result>): Promise<Result> {
  await using store = createGroupStore(levelStorage(directory));
  await store.open();
  return await task(store);
}

/** What a store left in its engine, as it is stored there. */
async function entriesOf(directory: string): Promise<Entries> {
  return await withRaw(join(directory, "db"), async (raw) => await raw.iterator({ gte: "c", lt: "d" }).all());
}

async function snapshots(groups: number, rounds: number): Promise<Row[]> {
  const [alike, least, bodies] = [new Series(), new Series(), new Series()];
  const input = snapshotsOf(groups, 1);
  const alone = bodiesOf(groups, 1);
  const ours = (): Promise<Cost> =>
    inDirectory((directory) => withStore(directory, (store) => timed(() => commitAll(store, input), store)));
  const raw = (task: (engine: Raw) => Promise<void>): Promise<Cost> =>
    inDirectory((directory) => withRaw(directory, (engine) => timed(() => task(engine), engine)));
  const stored = await inDirectory(async (directory) => {
    await withStore(directory, (store) => commitAll(store, input));
    return await entriesOf(directory);
  });
  for (let round = 0; round < rounds; round++) {
    const same = (): Promise<Cost> => raw((engine) => rawPut(engine, stored, (CHUNK * stored.length) / groups));
    await alike.round(same, ours);
    await least.round(() => raw((engine) => putLeast(engine, input, CHUNK)), ours);
    await bodies.round(() => raw((engine) => rawPut(engine, alone, CHUNK)), ours);
  }
  return [
    alike.row(`snapshot ${groups} groups of 200 B, synced; raw: same keys and values`, ""),
    least.row("the same; raw: the least code that makes these of ids and bodies", "<= 1.3"),
    bodies.row("the same; raw: the bodies alone", ""),
  ];
}

async function ticks(directory: string, groups: number, rounds: number): Promise<Row[]> {
  const dirty = Math.max(1, Math.round(groups / 100));
  const [bodies, alike, turns]: [Series, Series, Cost[]] = [new Series(), new Series(), []];
  const all = await entriesOf(directory);
  await inDirectory(async (other) => {
    await using store = createGroupStore(levelStorage(directory));
    await store.open();
    await using raw = await openRaw(other);
    await rawPut(raw, bodiesOf(groups, 1), CHUNK);
    for (let warmUp = 0; warmUp < 20; warmUp++) await commitAll(store, snapshotsOf(dirty, 3));
    for (let round = 0; round < rounds * TICKS_PER_ROUND; round++) {
      const changed = snapshotsOf(dirty, 10 + round);
      const alone = bodiesOf(dirty, 10 + round);
      const same = all.slice(0, 2 * dirty).filter((_, index) => index % 2 === round % 2);
      const commit = (): Promise<void> => store.commit({ snapshots: changed }, { sync: true });
      const ours = (): Promise<Cost> => timed(commit);
      if (round % 3 === 0) await bodies.round(() => timed(() => rawPut(raw, alone, dirty)), ours);
      else if (round % 3 === 1) await alike.round(() => timed(() => rawPut(raw, same, dirty)), ours);
      else {
        // Apart from the others: watching takes processor time.
        const loop = new BlockedLoop();
        await commit();
        turns.push(loop.stop());
      }
    }
  });
  const longest = (by: keyof Cost): string => median(turns.map((cost) => cost[by])).toFixed(1);
  return [
    bodies.row(`snapshot tick, ${dirty} of ${groups} groups dirty, synced; raw: the bodies alone`, "<= 2"),
    alike.row("the same; raw: same keys and values", ""),
    ["the same: longest turn of the event loop", "", longest("ms"), "", "", "< 5"],
    ["the same, in processor time of all threads", "", longest("cpuMs"), "", "", "< 5"],
  ];
}

/** Measures the longest turn of the event loop. */
class BlockedLoop {
  #ms = performance.now();
  #cpu = process.cpuUsage();
  #longest: Cost = { ms: 0, cpuMs: 0 };
  #timer = setImmediate(() => this.#turn());

  #turn(): void {
    const { user, system } = process.cpuUsage(this.#cpu);
    const [ms, cpuMs] = [performance.now() - this.#ms, (user + system) / 1000];
    this.#longest = { ms: Math.max(this.#longest.ms, ms), cpuMs: Math.max(this.#longest.cpuMs, cpuMs) };
    this.#ms += ms;
    this.#cpu = process.cpuUsage();
    this.#timer = setImmediate(() => this.#turn());
  }

  stop(): Cost {
    clearImmediate(this.#timer);
    return this.#longest;
  }
}

async function reading(directory: string, groups: number, rounds: number): Promise<Row[]> {
  const [listing, ready, recovery, loads] = [new Series(), new Series(), new Series(), new Series()];
  const db = join(directory, "db");
  const raw = (values: boolean): Promise<Cost> => withRaw(db, (engine) => timed(() => rawRead(engine, values)));
  const ours = (task: (store: GroupStorage, groups: number) => Promise<void>): Promise<Cost> =>
    withStore(directory, (store) => timed(() => task(store, groups)));
  for (let round = 0; round < rounds; round++) {
    await listing.round(
      () => raw(false),
      () => ours(listAll),
    );
    await ready.round(
      () => ours(listAll),
      () => timed(() => withStore(directory, (store) => listAll(store, groups))),
    );
    await recovery.round(
      () => raw(true),
      () => ours(recoverAll),
    );
    await loads.round(
      () => raw(true),
      () => ours(loadEach),
    );
  }
  return [
    listing.row(`list ${groups} groups; raw: key scan of the same rows`, "<= 1.5"),
    recovery.row(`recover ${groups} groups of 200 B, values readable; raw: nextv of the same rows`, "<= 2"),
    loads.row("the same, each group by its own load()", ""),
    ready.row(`ready to serve ${groups} stored groups (open, list, close); raw: our listing`, "<= 1.5"),
  ];
}

/** Lists all groups, and looks at what a node needs to know of each. */
async function listAll(store: GroupStorage, groups: number): Promise<void> {
  let count = 0;
  for await (const page of store.listGroups()) {
    for (const { key, type, epoch, digest } of page) if (key && type && epoch && digest) count++;
  }
  if (count !== groups) throw new Error(`${count} groups listed instead of ${groups}`);
}

async function recoverAll(store: GroupStorage, groups: number): Promise<void> {
  let count = 0;
  for await (const page of store.loadGroups()) {
    for (const { snapshot } of page) if (snapshot?.body.length === BODY_BYTES && snapshot.vector.size === 1) count++;
  }
  if (count !== groups) throw new Error(`${count} groups recovered instead of ${groups}`);
}

async function loadEach(store: GroupStorage, groups: number): Promise<void> {
  let count = 0;
  for await (const page of store.listGroups()) {
    for (const group of await Promise.all(page.map(({ id }) => store.load(id)))) {
      if (group?.snapshot?.body.length === BODY_BYTES) count++;
    }
  }
  if (count !== groups) throw new Error(`${count} groups loaded instead of ${groups}`);
}

/** Writes acknowledged at `sync` in a second, by one writer and by many at once. */
async function writers(rounds: number): Promise<Row> {
  return await inDirectory(async (directory) => {
    await using store = createGroupStore(levelStorage(directory));
    await store.open();
    const [one, many]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      one.push(await writeRate(store, 1, `${round}-one`));
      many.push(await writeRate(store, 64, `${round}-many`));
    }
    const ratio = median(many.map((rate, index) => rate / (one[index] ?? Number.NaN))).toFixed(2);
    const figure = "writes a second acknowledged at sync, 64 writers; raw: one writer";
    return [figure, median(one).toFixed(0), median(many).toFixed(0), ratio, "", ">= 10"];
  });
}

async function writeRate(store: GroupStorage, writers: number, name: string): Promise<number> {
  const ids = Array.from({ length: writers }, (_, index) => ["writer", `${name}-${index}`]);
  await store.commit({ created: ids.map((id) => ({ ...snapshotOf(0, 0), id, vector: new VersionVector() })) });
  const bytes = bodyOf(0);
  const start = performance.now();
  let count = 0;
  await Promise.all(
    ids.map(async (id) => {
      for (let position = 0; performance.now() < start + WRITERS_MS; position++) {
        const record = { id, epoch: 1, position, count: 1, bytes };
        await store.commit({ records: [record] }, { sync: true });
        count++;
      }
    }),
  );
  return (count * 1000) / (performance.now() - start);
}

function print(rows: readonly Row[]): void {
  const table: readonly Row[] = [["figure (ms where not told)", "raw", "ours", "ratio", "cpu ratio", "goal"], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of table) {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    console.log(cells.join("  ").trimEnd());
  }
}

async function main(): Promise<void> {
  const { positionals } = parseArgs({ allowPositionals: true });
  const groups = Number(positionals[0] ?? 100_000);
  const rounds = Number(positionals[1] ?? 5);
  await snapshots(Math.min(groups, 5000), 1);
  const rows = await snapshots(groups, rounds);
  await inDirectory(async (directory) => {
    // Two generations of each, as any group has that was written more than once.
    for (const seq of [1, 2]) await withStore(directory, (store) => commitAll(store, snapshotsOf(groups, seq)));
    rows.push(...(await reading(directory, groups, rounds)), ...(await ticks(directory, groups, rounds)));
  });
  rows.push(await writers(rounds));
  print(rows);
}

await main();
