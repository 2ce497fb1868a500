import type { Damage, GroupId, StoredGroup } from "@coppice/storage";
import type { GroupView } from "./core/group.ts";
import type { OptionNames } from "./option-checks.ts";
import type { GroupStatus } from "./replica.ts";
import type { SupersededGroup } from "./superseded.ts";
import { nextTurn } from "./waiting.ts";

/** Groups loaded at the same time: the storage reads those of one turn together. */
const LOADS_AT_ONCE = 256;
/** From this share of all groups on, reading all of them takes less time than loading these one by one. */
const SCAN_SHARE = 0.25;
/** Groups looked at in one turn of the event loop. */
const GROUPS_A_TURN = 1000;

/** How far a recovery is. */
export interface RecoveryProgress {
  readonly done: number;
  readonly total: number;
  readonly group: GroupStatus;
}

export interface RecoverOptions {
  /** Load nothing: read what is stored of each group and report that. What is damaged is moved aside, as at any reading. */
  readonly dryRun?: boolean;
  /**
   * Which groups come first: those with a greater number. Groups with a journal to replay come before all others, since
   * nothing is known of them until that is done. Default: in the order of their keys.
   */
  readonly priority?: (group: GroupStatus) => number;
  readonly onProgress?: (progress: RecoveryProgress) => void;
  readonly signal?: AbortSignal;
}

export const RECOVER_OPTIONS: OptionNames<RecoverOptions> = {
  dryRun: true,
  priority: true,
  onProgress: true,
  signal: true,
};

/** What is stored of one group. */
export interface StoredContents {
  readonly id: GroupId;
  readonly type: string;
  readonly epoch: number;
  /** Of the newest whole snapshot: its bytes as stored, and when it was taken, in Unix milliseconds; 0 before the first. */
  readonly snapshotBytes: number;
  readonly snapshotAt: number;
  /** Of the journal from there on. */
  readonly journalEvents: number;
  readonly journalBytes: number;
  /** Records that did not pass their checks. */
  readonly damage: readonly Damage[];
  /** Whether something of it was lost, now or earlier, and no peer has brought it back. */
  readonly degraded: boolean;
}

/** What a recovery found. */
export interface RecoveryReport {
  /** How many groups are stored. `Node.groups` tells of each. */
  readonly groups: number;
  /** How many of them were loaded, and are whole. */
  readonly recovered: number;
  /** Loaded from an older snapshot or an incomplete journal: peers may have more. */
  readonly degraded: readonly GroupStatus[];
  /** Stored but not readable; left as they are. */
  readonly failed: readonly GroupStatus[];
  /** Of a type that this node was not given. */
  readonly unknown: readonly GroupStatus[];
  /** States of superseded epochs that were moved aside; see `Node.superseded`. */
  readonly superseded: readonly SupersededGroup[];
  /** What is stored of each group; with `dryRun` only. */
  readonly stored: readonly StoredContents[];
  /** Events in all groups. */
  readonly events: number;
  readonly durationMs: number;
}

/** What a recovery works on. */
export interface RecoverySource {
  /** Throws `CLOSED` once the node has closed. */
  checkOpen(): void;
  /** All groups known here. */
  groups(): Iterable<GroupView>;
  group(key: string): GroupView;
  status(group: GroupView): GroupStatus;
  isKnownType(name: string): boolean;
  /** What is stored of all of them. */
  contents(signal: AbortSignal | undefined): AsyncIterable<readonly StoredGroup[]>;
  superseded(signal: AbortSignal | undefined): Promise<readonly SupersededGroup[]>;
  /** Loads a group; rejects when it cannot be read. */
  load(key: string, signal: AbortSignal | undefined): Promise<void>;
  /** Takes groups for loaded, as they were read; returns the keys of those that need not be loaded any more. */
  adopt(page: readonly StoredGroup[]): readonly string[];
}

/** A group that is to be recovered. */
interface RankedGroup {
  readonly key: string;
  /** Whether its journal is still to be replayed. */
  readonly isJournalled: boolean;
  readonly rank: number;
}

/**
 * Loads the groups, many at a time. One that cannot be read does not stop the others. Rejects with the signal's reason, or
 * with `CLOSED`.
 */
export async function recoverGroups(source: RecoverySource, options: RecoverOptions): Promise<RecoveryReport> {
  try {
    return await recover(source, options);
  } catch (error) {
    // Whatever the storage says when it is told to stop.
    options.signal?.throwIfAborted();
    source.checkOpen();
    throw error;
  }
}

async function recover(source: RecoverySource, options: RecoverOptions): Promise<RecoveryReport> {
  const startedAt = performance.now();
  const ranked = await inOrder(source, options);
  const stored = options.dryRun ? await readContents(source, ranked.length, options) : [];
  const loaded = options.dryRun ? new Set<string>() : await loadAll(source, ranked, options);
  const superseded = await source.superseded(options.signal);
  const found = await lookAt(source, ranked, loaded);
  return { groups: ranked.length, ...found, superseded, stored, durationMs: performance.now() - startedAt };
}

async function inOrder(source: RecoverySource, { priority, signal }: RecoverOptions): Promise<readonly RankedGroup[]> {
  const ranked: RankedGroup[] = [];
  for await (const group of inTurns(source.groups())) {
    signal?.throwIfAborted();
    if (!group.isStored || group.phase === "deleted") continue;
    const isJournalled = group.isUnsettled;
    const rank = priority === undefined || isJournalled ? 0 : priority(source.status(group));
    ranked.push({ key: group.key, isJournalled, rank });
  }
  return ranked.sort((a, b) => Number(b.isJournalled) - Number(a.isJournalled) || b.rank - a.rank);
}

/** The items, with a turn of the event loop after so many of them. */
async function* inTurns<Item>(items: Iterable<Item>): AsyncGenerator<Item> {
  let count = 0;
  for (const item of items) {
    if (++count % GROUPS_A_TURN === 0) await nextTurn();
    yield item;
  }
}

/**
 * Returns the keys of the groups that were loaded. Those that come last are read in one scan, when they are many; what
 * that does not bring is loaded one by one, as are the groups before them.
 */
async function loadAll(
  source: RecoverySource,
  ranked: readonly RankedGroup[],
  options: RecoverOptions,
): Promise<ReadonlySet<string>> {
  const loaded = new Set<string>();
  let done = 0;
  const note = (key: string, isLoaded: boolean): void => {
    done++;
    if (isLoaded) loaded.add(key);
    options.onProgress?.({ done, total: ranked.length, group: source.status(source.group(key)) });
  };
  const last = ranked.at(-1);
  const isLast = (group: RankedGroup): boolean => group.rank === last?.rank && group.isJournalled === last.isJournalled;
  const start = ranked.findIndex(isLast);
  const scanned = ranked.length - start >= SCAN_SHARE * ranked.length ? ranked.slice(start) : [];
  const first = ranked.slice(0, ranked.length - scanned.length).map(({ key }) => key);
  await loadEach(source, first, options.signal, note);
  const left = new Set(scanned.map(({ key }) => key));
  if (left.size > 0) {
    for await (const page of readable(source.contents(options.signal), options.signal)) {
      options.signal?.throwIfAborted();
      for (const key of source.adopt(page)) if (left.delete(key)) note(key, true);
    }
  }
  await loadEach(source, [...left], options.signal, note);
  return loaded;
}

/** Pages as far as they can be read: loading a group that is missing then tells why. */
async function* readable(
  pages: AsyncIterable<readonly StoredGroup[]>,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly StoredGroup[]> {
  try {
    yield* pages;
  } catch {
    signal?.throwIfAborted();
  }
}

async function loadEach(
  source: RecoverySource,
  keys: readonly string[],
  signal: AbortSignal | undefined,
  note: (key: string, isLoaded: boolean) => void,
): Promise<void> {
  const waiting = each(keys);
  const work = async (): Promise<void> => {
    for (const key of waiting) {
      signal?.throwIfAborted();
      let isLoaded = true;
      try {
        await source.load(key, signal);
      } catch {
        // Its phase says that it failed, and the report lists it.
        signal?.throwIfAborted();
        source.checkOpen();
        isLoaded = false;
      }
      note(key, isLoaded);
    }
  };
  await Promise.all(Array.from({ length: LOADS_AT_ONCE }, work));
}

/** When one of those who share this stops early, there is nothing more for the others. */
function* each<Item>(items: readonly Item[]): Generator<Item> {
  yield* items;
}

async function readContents(source: RecoverySource, total: number, options: RecoverOptions): Promise<StoredContents[]> {
  const contents: StoredContents[] = [];
  for await (const page of source.contents(options.signal)) {
    for (const { row, records, damage } of page) {
      const { id, key, type, epoch, snapshotBytes, snapshotAt, degraded } = row;
      const journalEvents = records.reduce((sum, { count }) => sum + count, 0);
      const journalBytes = records.reduce((sum, { bytes }) => sum + bytes.length, 0);
      contents.push({ id, type, epoch, snapshotBytes, snapshotAt, journalEvents, journalBytes, damage, degraded });
      options.onProgress?.({ done: contents.length, total, group: source.status(source.group(key)) });
    }
  }
  return contents;
}

/** What the groups are now. */
async function lookAt(
  source: RecoverySource,
  groups: readonly RankedGroup[],
  loaded: ReadonlySet<string>,
): Promise<Pick<RecoveryReport, "recovered" | "degraded" | "failed" | "unknown" | "events">> {
  const [degraded, failed, unknown]: [GroupStatus[], GroupStatus[], GroupStatus[]] = [[], [], []];
  let [recovered, events] = [0, 0];
  for await (const { key } of inTurns(groups)) {
    const group = source.group(key);
    events += group.vector.total();
    if (group.phase === "failed") failed.push(source.status(group));
    else if (group.isDegraded) degraded.push(source.status(group));
    else if (loaded.has(key)) recovered++;
    if (!source.isKnownType(group.typeName)) unknown.push(source.status(group));
  }
  return { recovered, degraded, failed, unknown, events };
}
