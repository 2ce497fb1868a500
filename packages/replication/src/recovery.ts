import type { Damage, GroupId, StoredGroup } from "@coppice/storage";
import type { GroupStatus } from "./replica.ts";
import type { SupersededGroup } from "./superseded.ts";

/** Groups loaded at the same time: the storage reads those of one turn together. */
const LOADS_AT_ONCE = 256;

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
  /** How many of them are loaded and whole. */
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
  /** `isJournalled`: its journal is still to be replayed. */
  readonly groups: readonly { readonly id: GroupId; readonly isJournalled: boolean }[];
  /** What is stored of all of them. */
  contents(signal: AbortSignal | undefined): AsyncIterable<readonly StoredGroup[]>;
  status(id: GroupId): GroupStatus;
  superseded(signal: AbortSignal | undefined): Promise<readonly SupersededGroup[]>;
  /** Loads a group; rejects when it cannot be read. */
  load(id: GroupId, signal: AbortSignal | undefined): Promise<void>;
}

/** Loads the groups, several at a time. One that cannot be read does not stop the others. */
export async function recoverGroups(source: RecoverySource, options: RecoverOptions): Promise<RecoveryReport> {
  const startedAt = performance.now();
  const ids = inOrder(source, options);
  const stored = options.dryRun ? await readContents(source, ids.length, options) : [];
  if (!options.dryRun) await loadAll(source, ids, options);
  const superseded = await source.superseded(options.signal);
  const statuses = ids.map((id) => source.status(id));
  return { ...report(superseded, statuses, performance.now() - startedAt), stored };
}

function inOrder(source: RecoverySource, { priority }: RecoverOptions): readonly GroupId[] {
  const ranked = source.groups.map(({ id, isJournalled }) => {
    const rank = priority === undefined || isJournalled ? 0 : priority(source.status(id));
    return { id, isJournalled, rank };
  });
  ranked.sort((a, b) => Number(b.isJournalled) - Number(a.isJournalled) || b.rank - a.rank);
  return ranked.map(({ id }) => id);
}

async function loadAll(source: RecoverySource, ids: readonly GroupId[], options: RecoverOptions): Promise<void> {
  const waiting = ids.values();
  let done = 0;
  const work = async (): Promise<void> => {
    for (const id of waiting) {
      options.signal?.throwIfAborted();
      try {
        await source.load(id, options.signal);
      } catch {
        // Its phase says that it failed, and the report lists it.
        options.signal?.throwIfAborted();
      }
      done++;
      options.onProgress?.({ done, total: ids.length, group: source.status(id) });
    }
  };
  await Promise.all(Array.from({ length: LOADS_AT_ONCE }, work));
}

async function readContents(source: RecoverySource, total: number, options: RecoverOptions): Promise<StoredContents[]> {
  const contents: StoredContents[] = [];
  for await (const page of source.contents(options.signal)) {
    for (const { row, records, damage } of page) {
      const { id, type, epoch, snapshotBytes, snapshotAt, degraded } = row;
      const journalEvents = records.reduce((sum, { count }) => sum + count, 0);
      const journalBytes = records.reduce((sum, { bytes }) => sum + bytes.length, 0);
      contents.push({ id, type, epoch, snapshotBytes, snapshotAt, journalEvents, journalBytes, damage, degraded });
      options.onProgress?.({ done: contents.length, total, group: source.status(id) });
    }
  }
  return contents;
}

function report(
  superseded: readonly SupersededGroup[],
  groups: readonly GroupStatus[],
  durationMs: number,
): Omit<RecoveryReport, "stored"> {
  const failed = groups.filter(({ phase }) => phase === "failed");
  const degraded = groups.filter((group) => group.degraded && group.phase !== "failed");
  return {
    groups,
    recovered: groups.filter((group) => group.phase === "active" && !group.degraded).length,
    degraded,
    failed,
    unknown: groups.filter(({ isKnownType }) => !isKnownType),
    superseded,
    events: groups.reduce((sum, { events }) => sum + events, 0),
    durationMs,
  };
}
