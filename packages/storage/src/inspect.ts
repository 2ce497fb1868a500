import type { StorageBackend } from "./backend.ts";
import { decodeGroupKey, encodeGroupId, encodeGroupPrefix, type GroupId } from "./group-id.ts";
import { corruption } from "./group-reader.ts";
import { compareAge, decodeApart, decodeRecord, type GroupRecord } from "./group-record.ts";
import { scanSlots } from "./group-records.ts";
import type { CatalogueRow } from "./group-storage.ts";
import { decodeEntry } from "./journal-entry.ts";
import { APART_SPACE, journalLog, parseApartKey, QUARANTINE_SPACE, recordKey, SLOTS } from "./store-keys.ts";

/** What is stored of one group, record by record. */
export interface GroupInspection {
  readonly id: GroupId;
  /** The newest of its two records; undefined when both are damaged. */
  readonly row: CatalogueRow | undefined;
  /** Both of its records, and the bodies that lie apart from them. */
  readonly snapshots: readonly {
    readonly key: string;
    /** Undefined when it is damaged. Generation 0 is a record of a group without a snapshot. */
    readonly epoch: number | undefined;
    readonly generation: number | undefined;
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
  const snapshots: GroupInspection["snapshots"][number][] = [];
  let row: GroupRecord | undefined;
  for (const slot of SLOTS) {
    const place = recordKey(key, slot);
    const value = await backend.get(place);
    if (value === undefined) continue;
    const { result, damage } = attempt(() => decodeRecord(value, key, slot));
    snapshots.push(inspected(place, value, result, damage));
    if (result !== undefined && (row === undefined || compareAge(result.bytes, row.bytes) > 0)) row = result;
  }
  for await (const page of backend.scan({ prefix: APART_SPACE + key })) {
    for (const { key: place, value } of page) {
      const { result, damage } = attempt(() => decodeApart(value, key, parseApartKey(place)));
      snapshots.push(inspected(place, value, result, damage));
    }
  }
  const journal = [];
  const log = journalLog(key, row?.epoch ?? snapshots.at(-1)?.epoch ?? 1);
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
  if (snapshots.length + journal.length + quarantined.length === 0) return undefined;
  return { id, row, snapshots, journal, quarantined };
}

function inspected(
  key: string,
  value: Uint8Array,
  record: GroupRecord | undefined,
  damage: string | undefined,
): GroupInspection["snapshots"][number] {
  return {
    key,
    epoch: record?.epoch,
    generation: record?.generation,
    bytes: value.length,
    takenAt: record?.snapshotAt,
    journalPosition: record?.journalPosition,
    damage,
  };
}

/** Inspects every group with a record, in the order of keys; with `prefix` only those (see `encodeGroupPrefix`). */
export async function* inspectGroups(
  backend: StorageBackend,
  options: { prefix?: GroupId; signal?: AbortSignal } = {},
): AsyncGenerator<GroupInspection> {
  const { prefix, signal } = options;
  for await (const { groups } of scanSlots(backend, prefix === undefined ? "" : encodeGroupPrefix(prefix), signal)) {
    for (const { key } of groups) {
      const { result: id } = attempt(() => decodeGroupKey(key));
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
