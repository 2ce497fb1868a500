import type { StorageBackend } from "./backend.ts";
import { catalogueRow, decodeRow } from "./catalogue-row.ts";
import { decodeGroupKey, encodeGroupId, encodeGroupPrefix, type GroupId } from "./group-id.ts";
import { corruption } from "./group-reader.ts";
import type { CatalogueRow } from "./group-storage.ts";
import { decodeEntry } from "./journal-entry.ts";
import { decodeSnapshot } from "./snapshot-record.ts";
import { journalLog, QUARANTINE_SPACE, ROW_SPACE, rowKey, SNAPSHOT_SPACE } from "./store-keys.ts";
import { parseSnapshotKey } from "./check.ts";

/** What is stored of one group, record by record. */
export interface GroupInspection {
  readonly id: GroupId;
  /** Undefined when the row is damaged. */
  readonly row: CatalogueRow | undefined;
  readonly snapshots: readonly {
    readonly epoch: number;
    readonly generation: number;
    readonly bytes: number;
    /** Unix milliseconds, and the journal position that the snapshot holds; undefined when it is damaged. */
    readonly takenAt: number | undefined;
    readonly journalPosition: number | undefined;
    readonly damage: string | undefined;
  }[];
  readonly journal: readonly {
    readonly seq: number;
    readonly bytes: number;
    readonly position: number | undefined;
    readonly count: number | undefined;
    readonly damage: string | undefined;
  }[];
  readonly quarantined: readonly { readonly key: string; readonly bytes: number }[];
}

/** What is stored of a group; undefined when nothing is. Changes nothing. */
export async function inspectGroup(backend: StorageBackend, id: GroupId): Promise<GroupInspection | undefined> {
  const key = encodeGroupId(id);
  const bytes = await backend.get(rowKey(key));
  const row = bytes && attempt(() => decodeRow(bytes, rowKey(key))).result;
  const snapshots = [];
  for await (const page of backend.scan({ prefix: SNAPSHOT_SPACE + key })) {
    for (const { key: place, value } of page) {
      const { epoch, generation } = parseSnapshotKey(place);
      const { result, damage } = attempt(() => decodeSnapshot(value, place));
      const journalPosition = result?.mark.position;
      snapshots.push({ epoch, generation, bytes: value.length, takenAt: result?.takenAt, journalPosition, damage });
    }
  }
  const journal = [];
  const log = journalLog(key, row?.meta.epoch ?? snapshots.at(-1)?.epoch ?? 1);
  for await (const page of backend.readLog(log, 0)) {
    for (const { seq, value } of page) {
      const { result, damage } = attempt(() => decodeEntry(value, log, seq));
      journal.push({ seq, bytes: value.length, position: result?.position, count: result?.count, damage });
    }
  }
  const quarantined = [];
  for await (const page of backend.scan({ prefix: QUARANTINE_SPACE + key })) {
    for (const entry of page) quarantined.push({ key: entry.key, bytes: entry.value.length });
  }
  if (bytes === undefined && snapshots.length + journal.length + quarantined.length === 0) return undefined;
  return { id, row: row && catalogueRow(id, row), snapshots, journal, quarantined };
}

/** Inspects every group with a row, in the order of keys; with `prefix` only those (see `encodeGroupPrefix`). */
export async function* inspectGroups(
  backend: StorageBackend,
  options: { prefix?: GroupId; signal?: AbortSignal } = {},
): AsyncGenerator<GroupInspection> {
  const { prefix, signal } = options;
  const scan = { prefix: ROW_SPACE + (prefix === undefined ? "" : encodeGroupPrefix(prefix)), values: false };
  for await (const page of backend.scan({ ...scan, ...(signal && { signal }) })) {
    for (const { key } of page) {
      const { result: id } = attempt(() => decodeGroupKey(key.slice(ROW_SPACE.length)));
      const inspection = id && (await inspectGroup(backend, id));
      if (inspection) yield inspection;
    }
  }
}

function attempt<Result>(decode: () => Result): { result: Result | undefined; damage: string | undefined } {
  try {
    return { result: decode(), damage: undefined };
  } catch (error) {
    return { result: undefined, damage: corruption(error) };
  }
}
