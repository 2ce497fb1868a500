import type { Damage, GroupId, StoredGroup } from "@coppice/storage";
import type { GroupStatus } from "./replica.ts";
import type { SupersededGroup } from "./superseded.ts";

/** Groups loaded at the same time: the storage reads those of one turn together. */
const LOADS_AT_ONCE = 256;
/** From this share of all groups on, reading all of them takes less time than loading these one by one. */
const SCAN_SHARE = 0.25;

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
  /** Every stored group, with its status after the recovery. */
  readonly groups: readonly GroupStatus[];
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
  readonly groups: readonly StoredName[];
  /** What is stored of all of them. */
  contents(signal: AbortSignal | undefined): AsyncIterable<readonly StoredGroup[]>;
  status(key: string): GroupStatus;
  superseded(signal: AbortSignal | undefined): Promise<readonly SupersededGroup[]>;
  /** Loads a group; rejects when it cannot be read. */
  load(id: GroupId, signal: AbortSignal | undefined): Promise<void>;
  /** Takes groups for loaded, as they were read; returns the keys of those that need not be loaded any more. */
  adopt(page: readonly StoredGroup[]): readonly string[];
}

/** A group that is to be recovered. `isJournalled`: its journal is still to be replayed. */
export interface StoredName {
  readonly id: GroupId;
  readonly key: string;
  readonly isJournalled: boolean;
}

/** Loads the groups, many at a time. One that cannot be read does not stop the others. */
export async function recoverGroups(source: RecoverySource, options: RecoverOptions): Promise<RecoveryReport> {
  const startedAt = performance.now();
  const ranked = inOrder(source, options);
  const stored = options.dryRun ? await readContents(source, ranked.length, options) : [];
  const loaded = options.dryRun ? new Set<string>() : await loadAll(source, ranked, options);
  const superseded = await source.superseded(options.signal);
  const groups = ranked.map(({ key }) => source.status(key));
  const recovered = ranked.filter(({ key }, index) => loaded.has(key) && groups[index]?.degraded === false).length;
  return { ...report(groups), recovered, superseded, stored, durationMs: performance.now() - startedAt };
}

interface RankedGroup extends StoredName {
  readonly rank: number;
}

function inOrder(source: RecoverySource, { priority }: RecoverOptions): readonly RankedGroup[] {
  const ranked = source.groups.map(({ id, key, isJournalled }) => {
    const rank = priority === undefined || isJournalled ? 0 : priority(source.status(key));
    return { id, key, isJournalled, rank };
  });
  return ranked.sort((a, b) => Number(b.isJournalled) - Number(a.isJournalled) || b.rank - a.rank);
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
  const note = ({ key }: StoredName, isLoaded: boolean): void => {
    done++;
    if (isLoaded) loaded.add(key);
    options.onProgress?.({ done, total: ranked.length, group: source.status(key) });
  };
  const last = ranked.at(-1);
  const isLast = (group: RankedGroup): boolean => group.rank === last?.rank && group.isJournalled === last.isJournalled;
  const start = ranked.findIndex(isLast);
  const scanned = ranked.length - start >= SCAN_SHARE * ranked.length ? ranked.slice(start) : [];
  await loadEach(source, ranked.slice(0, ranked.length - scanned.length), options.signal, note);
  const left = new Map(scanned.map((group) => [group.key, group]));
  if (left.size > 0) {
    for await (const page of readable(source.contents(options.signal), options.signal)) {
      options.signal?.throwIfAborted();
      for (const key of source.adopt(page)) {
        const group = left.get(key);
        if (group !== undefined && left.delete(key)) note(group, true);
      }
    }
  }
  await loadEach(source, [...left.values()], options.signal, note);
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
  groups: readonly StoredName[],
  signal: AbortSignal | undefined,
  note: (group: StoredName, isLoaded: boolean) => void,
): Promise<void> {
  const waiting = groups.values();
  const work = async (): Promise<void> => {
    for (const group of waiting) {
      signal?.throwIfAborted();
      let isLoaded = true;
      try {
        await source.load(group.id, signal);
      } catch {
        // Its phase says that it failed, and the report lists it.
        signal?.throwIfAborted();
        isLoaded = false;
      }
      note(group, isLoaded);
    }
  };
  await Promise.all(Array.from({ length: LOADS_AT_ONCE }, work));
}

async function readContents(source: RecoverySource, total: number, options: RecoverOptions): Promise<StoredContents[]> {
  const contents: StoredContents[] = [];
  for await (const page of source.contents(options.signal)) {
    for (const { row, records, damage } of page) {
      const { id, key, type, epoch, snapshotBytes, snapshotAt, degraded } = row;
      const journalEvents = records.reduce((sum, { count }) => sum + count, 0);
      const journalBytes = records.reduce((sum, { bytes }) => sum + bytes.length, 0);
      contents.push({ id, type, epoch, snapshotBytes, snapshotAt, journalEvents, journalBytes, damage, degraded });
      options.onProgress?.({ done: contents.length, total, group: source.status(key) });
    }
  }
  return contents;
}

function report(
  groups: readonly GroupStatus[],
): Pick<RecoveryReport, "groups" | "degraded" | "failed" | "unknown" | "events"> {
  return {
    groups,
    degraded: groups.filter((group) => group.degraded && group.phase !== "failed"),
    failed: groups.filter(({ phase }) => phase === "failed"),
    unknown: groups.filter(({ isKnownType }) => !isKnownType),
    events: groups.reduce((sum, { events }) => sum + events, 0),
  };
}
