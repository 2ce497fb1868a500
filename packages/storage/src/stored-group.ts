import { catalogueRow, decodeRow, type StoredRow } from "./catalogue-row.ts";
import type { GroupId } from "./group-id.ts";
import { corruption, type GroupReading } from "./group-reader.ts";
import type { GroupSnapshot, StoredGroup } from "./group-storage.ts";
import { unpackBody } from "./packed-body.ts";
import { decodeSnapshot, type SnapshotRecord } from "./snapshot-record.ts";
import type { StoreEngine } from "./store-engine.ts";
import { journalLog, rowKey, snapshotKey } from "./store-keys.ts";

/** A reading as `load` returns it. */
export async function storedGroup(id: GroupId, row: StoredRow, reading: GroupReading): Promise<StoredGroup> {
  const { state, snapshot, entries, damage } = reading;
  const records = [];
  for (const { position, count, body } of entries) {
    records.push({ id, epoch: row.meta.epoch, position, count, bytes: await unpackBody(body) });
  }
  const { nextPosition } = state;
  const whole = snapshot && groupSnapshot(id, snapshot, row.newest.position, await unpackBody(snapshot.body));
  return { row: catalogueRow(id, row), snapshot: whole, records, nextPosition, damage };
}

/**
 * The common case with the least work, for recoveries: a whole row, a whole newest snapshot, and no journal behind it.
 * Undefined for all else, and the caller reads again, with care.
 */
export async function readWhole(engine: StoreEngine, key: string, id: GroupId): Promise<StoredGroup | undefined> {
  if (!engine.journals.isReady) await engine.journals.ready();
  const rowBytes = await engine.get(rowKey(key));
  if (rowBytes === undefined) return undefined;
  try {
    const row = decodeRow(rowBytes, rowKey(key));
    const { newest, meta } = row;
    if (newest.generation === 0 || engine.journals.last(journalLog(key, meta.epoch)) >= newest.seq) return undefined;
    const at = snapshotKey(key, meta.epoch, newest.generation);
    const bytes = await engine.get(at);
    if (bytes === undefined) return undefined;
    const record = decodeSnapshot(bytes, at);
    const body = record.body.codec === 0 ? record.body.bytes : await unpackBody(record.body);
    const snapshot = groupSnapshot(id, record, newest.position, body);
    return { row: catalogueRow(id, row), snapshot, records: [], nextPosition: newest.position, damage: [] };
  } catch (error) {
    corruption(error);
    return undefined;
  }
}

function groupSnapshot(id: GroupId, record: SnapshotRecord, position: number, body: Uint8Array): GroupSnapshot {
  const { meta } = record;
  return {
    id,
    type: meta.type,
    epoch: meta.epoch,
    vector: meta.vector,
    frontier: meta.frontier,
    time: meta.time,
    digest: meta.digest,
    journalPosition: position,
    body,
  };
}
