import { corruption, type GroupReading } from "./group-reader.ts";
import { decodeApart, type GroupRecord, slotOf } from "./group-record.ts";
import { type SlotValues, wholeRecords } from "./group-records.ts";
import { type GroupState, stateOf } from "./group-state.ts";
import type { CatalogueRow, StoredGroup } from "./group-storage.ts";
import { unpackBody } from "./packed-body.ts";
import type { StoreEngine } from "./store-engine.ts";
import { apartKey, journalLog } from "./store-keys.ts";

/** A reading as `load` returns it. */
export async function storedGroup(record: GroupRecord, reading: GroupReading): Promise<StoredGroup> {
  const { state, body, entries, damage } = reading;
  const { id, epoch } = record;
  const records = [];
  for (const entry of entries) {
    const { position, count } = entry;
    records.push({ id, epoch, position, count, bytes: await unpackBody(entry.body) });
  }
  const snapshot = body && record.snapshot(await unpackBody(body));
  return { row: record, snapshot, records, nextPosition: state.nextPosition, damage };
}

/** The common case with the least work, for recoveries; undefined for all else, and the caller reads with care. */
export async function readWhole(
  engine: StoreEngine,
  slots: SlotValues,
): Promise<{ readonly group: StoredGroup; readonly state: GroupState } | undefined> {
  const records = wholeRecords(slots);
  if (records === undefined) return undefined;
  const { key, epoch, seq } = records.newest;
  if (await engine.journals.reaches(journalLog(key, epoch), seq)) return undefined;
  const group = await snapshotGroup(engine, records.newest);
  return group && { group, state: stateOf(records.newest, records.other) };
}

/** What there is of a deleted group. */
export function tombstone(row: CatalogueRow): StoredGroup {
  return { row, snapshot: undefined, records: [], nextPosition: row.journalPosition, damage: [] };
}

export function isAlive({ row }: StoredGroup): boolean {
  return row.epoch % 2 === 1;
}

/**
 * What is stored of a group without a journal behind its newest snapshot; undefined for others, and when the snapshot is
 * not whole. The journals must be known.
 */
export function wholeGroup(
  engine: StoreEngine,
  record: GroupRecord,
): StoredGroup | Promise<StoredGroup | undefined> | undefined {
  return isJournalled(engine, record) ? undefined : snapshotGroup(engine, record);
}

/** A group that is all in its newest snapshot. */
function snapshotGroup(
  engine: StoreEngine,
  record: GroupRecord,
): StoredGroup | Promise<StoredGroup | undefined> | undefined {
  if (record.generation === 0) return groupOf(record, undefined);
  const body = record.body();
  // Most bodies are small, and a promise for each would cost more than reading it.
  return body?.codec === 0 ? groupOf(record, body.bytes) : unpacked(engine, record);
}

async function unpacked(engine: StoreEngine, record: GroupRecord): Promise<StoredGroup | undefined> {
  try {
    const body = record.body() ?? (await readApart(engine, record))?.body();
    return body && groupOf(record, await unpackBody(body));
  } catch (error) {
    corruption(error);
    return undefined;
  }
}

/** The record that holds the body of one whose body lies apart. Throws `CORRUPT`. */
export async function readApart(engine: StoreEngine, record: GroupRecord): Promise<GroupRecord | undefined> {
  const { key, epoch, generation } = record;
  const slot = slotOf(generation);
  const bytes = await engine.get(apartKey(key, epoch, slot));
  const apart = bytes && decodeApart(bytes, key, { epoch, slot });
  return apart?.generation === generation ? apart : undefined;
}

function groupOf(record: GroupRecord, body: Uint8Array | undefined): StoredGroup {
  const snapshot = body && record.snapshot(body);
  return { row: record, snapshot, records: [], nextPosition: record.journalPosition, damage: [] };
}

/** Whether the journal goes on behind a record, once the journals are known. */
export function isJournalled(engine: StoreEngine, { key, epoch, seq }: GroupRecord): boolean {
  return engine.journals.last(journalLog(key, epoch)) >= seq;
}

/** A group, or its load under way. */
export type Found = StoredGroup | Promise<StoredGroup | undefined>;

/** A page of the groups, once all are loaded; none when there are none. */
export async function* settled(found: readonly Found[], deleted: boolean): AsyncGenerator<readonly StoredGroup[]> {
  await Promise.all(found.filter((item) => item instanceof Promise));
  const groups: StoredGroup[] = [];
  for (const item of found) {
    const group = item instanceof Promise ? await item : item;
    if (group !== undefined && (deleted || isAlive(group))) groups.push(group);
  }
  if (groups.length > 0) yield groups;
}
