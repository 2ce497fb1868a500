import { VersionVector } from "@coppice/crdt";
import type { Op } from "./backend.ts";
import { decodeRow, encodeRow, type Mark, NO_MARK, type StoredRow } from "./catalogue-row.ts";
import { StorageError, throwIfAborted } from "./error.ts";
import type { GroupId } from "./group-id.ts";
import { encodeMeta } from "./group-meta.ts";
import { appendTo, emptyState, type GroupState, stateOf } from "./group-state.ts";
import type { Damage } from "./group-storage.ts";
import { decodeEntry, type JournalEntry } from "./journal-entry.ts";
import { rebuildRow } from "./row-rebuild.ts";
import { decodeSnapshot, type SnapshotRecord } from "./snapshot-record.ts";
import type { StoreEngine } from "./store-engine.ts";
import { journalLog, quarantineKey, rowKey, snapshotKey } from "./store-keys.ts";

/** A group as read, and what must be written before anything else is written to it. */
export interface GroupReading {
  /** Undefined when all there was is a row that could not be rebuilt. */
  readonly row: StoredRow | undefined;
  readonly state: GroupState;
  readonly snapshot: SnapshotRecord | undefined;
  readonly entries: readonly JournalEntry[];
  readonly damage: readonly Damage[];
  /** Moves what is damaged aside and brings the row in line; empty when all is well. */
  readonly repairs: readonly Op[];
}

export interface ReadingOptions {
  /** Whether the snapshot is wanted; without, it is not read, and its damage not found. */
  readonly snapshot: boolean;
  readonly signal?: AbortSignal | undefined;
}

interface Findings {
  readonly id: GroupId;
  readonly damage: Damage[];
  readonly repairs: Op[];
}

/**
 * Reads a group: row, newest whole snapshot, and the journal from there to its first hole.
 *
 * Damaged records are not used. `repairs` moves them aside: written before anything else, they leave a journal that
 * ends where the reading ends, so the next record continues it without a hole and nothing is overwritten. A crash
 * before that write leaves all as it was; a crash after any later write finds a journal whole up to its end.
 */
export async function readGroup(
  engine: StoreEngine,
  key: string,
  id: GroupId,
  options: ReadingOptions,
): Promise<GroupReading | undefined> {
  const findings: Findings = { id, damage: [], repairs: [] };
  await engine.journals.ready();
  const stored = await readRow(engine, key, findings);
  if (stored === undefined) {
    const { damage, repairs } = findings;
    // Nothing is left but a row that says nothing: it goes, its bytes are kept.
    return repairs.length === 0
      ? undefined
      : { row: undefined, state: emptyState(0), snapshot: undefined, entries: [], damage, repairs };
  }
  throwIfAborted(options.signal);
  const { row, snapshot } = options.snapshot
    ? await readSnapshot(engine, key, stored, findings)
    : { row: stored, snapshot: undefined };
  const { state, entries } = await readJournal(engine, key, row, findings, options.signal);
  const { damage, repairs } = findings;
  if (repairs.length === 0) return { row, state, snapshot, entries, damage, repairs };
  const marked = { ...row, degraded: row.degraded || damage.some(isLoss) };
  repairs.push({ op: "put", key: rowKey(key), value: encodeRow(marked, rowKey(key)) });
  state.degraded = marked.degraded;
  state.meta = encodeMeta(marked.meta);
  return { row: marked, state, snapshot, entries, damage, repairs };
}

/** A row rebuilt from what it describes lost nothing. */
function isLoss(damage: Damage): boolean {
  return damage.action === "quarantined";
}

async function readRow(engine: StoreEngine, key: string, findings: Findings): Promise<StoredRow | undefined> {
  const bytes = await engine.get(rowKey(key));
  if (bytes === undefined) return undefined;
  try {
    return decodeRow(bytes, rowKey(key));
  } catch (error) {
    const reason = corruption(error);
    const row = await rebuildRow(engine.backend, key);
    const action = row === undefined ? "quarantined" : "rebuilt";
    findings.damage.push({ id: findings.id, record: "catalogue", action, reason });
    findings.repairs.push({ op: "put", key: quarantineKey(key, "c", row?.meta.epoch ?? 0, 0, bytes), value: bytes });
    if (row === undefined) findings.repairs.push({ op: "del", key: rowKey(key) });
    return row;
  }
}

async function readSnapshot(
  engine: StoreEngine,
  key: string,
  row: StoredRow,
  findings: Findings,
): Promise<{ row: StoredRow; snapshot: SnapshotRecord | undefined }> {
  for (const mark of [row.newest, row.previous]) {
    if (mark.generation === 0) continue;
    const at = snapshotKey(key, row.meta.epoch, mark.generation);
    const bytes = await engine.get(at);
    let reason = "the record is missing";
    if (bytes !== undefined) {
      try {
        const snapshot = decodeSnapshot(bytes, at);
        return { row: mark === row.newest ? row : fallBack(row, mark, snapshot, bytes.length), snapshot };
      } catch (error) {
        reason = corruption(error);
        const aside = quarantineKey(key, "s", row.meta.epoch, mark.generation, bytes);
        findings.repairs.push({ op: "put", key: aside, value: bytes }, { op: "del", key: at });
      }
    }
    findings.damage.push({ id: findings.id, record: "snapshot", action: "quarantined", reason });
  }
  if (row.newest.generation === 0) return { row, snapshot: undefined };
  // Nothing is known of the state any more, so the row must not claim anything.
  const meta = { ...row.meta, vector: new VersionVector(), frontier: [], digest: [0, 0] as const };
  const lost = { ...row, meta, snapshotBytes: 0, snapshotAt: 0, newest: NO_MARK, previous: NO_MARK };
  return { row: lost, snapshot: undefined };
}

function fallBack(row: StoredRow, mark: Mark, snapshot: SnapshotRecord, snapshotBytes: number): StoredRow {
  const { meta, takenAt } = snapshot;
  return { ...row, meta, snapshotBytes, snapshotAt: takenAt, newest: mark, previous: NO_MARK };
}

async function readJournal(
  engine: StoreEngine,
  key: string,
  row: StoredRow,
  findings: Findings,
  signal: AbortSignal | undefined,
): Promise<{ state: GroupState; entries: JournalEntry[] }> {
  const log = journalLog(key, row.meta.epoch);
  const entries: JournalEntry[] = [];
  const state = stateOf(row);
  if (engine.journals.last(log) < row.newest.seq) return { state, entries };
  let hole: string | undefined;
  let last = -1;
  for await (const page of engine.backend.readLog(log, row.newest.seq, { ...(signal && { signal }) })) {
    for (const { seq, value } of page) {
      last = seq;
      if (hole === undefined) {
        const entry = readEntry(value, log, seq, state);
        if (typeof entry !== "string") {
          entries.push(entry);
          appendTo(state, entry.position, entry.count);
          continue;
        }
        hole = entry;
      }
      const aside = quarantineKey(key, "j", row.meta.epoch, seq, value);
      findings.repairs.push({ op: "put", key: aside, value });
    }
  }
  if (hole !== undefined) {
    findings.damage.push({ id: findings.id, record: "journal", action: "quarantined", reason: hole });
    findings.repairs.push({ op: "truncate", log, from: state.nextSeq, upto: last + 1 });
  }
  return { state, entries };
}

/** The entry, or why the journal ends before it. */
function readEntry(value: Uint8Array, log: string, seq: number, state: GroupState): JournalEntry | string {
  if (seq !== state.nextSeq) return `record ${state.nextSeq} is missing`;
  let entry: JournalEntry;
  try {
    entry = decodeEntry(value, log, seq);
  } catch (error) {
    return `record ${seq}: ${corruption(error)}`;
  }
  // The first record may begin before the snapshot's position, when that lies within it.
  const fits =
    state.tail.length === 0
      ? entry.position <= state.nextPosition && entry.position + entry.count > state.nextPosition
      : entry.position === state.nextPosition;
  return fits ? entry : `record ${seq} has position ${entry.position} instead of ${state.nextPosition}`;
}

/** Why a record is not used. Rethrows what is no damage: an I/O error, or a format of a newer version. */
export function corruption(error: unknown): string {
  if (error instanceof StorageError && error.code === "CORRUPT") return error.message;
  throw error;
}
