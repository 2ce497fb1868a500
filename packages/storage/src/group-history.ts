import { corruption } from "./group-reader.ts";
import { decodeRecord, type GroupRecord, markOf } from "./group-record.ts";
import { readSlots } from "./group-records.ts";
import type { GroupHistory, GroupSnapshot, JournalRecord, StoredGroup } from "./group-storage.ts";
import { decodeEntry } from "./journal-entry.ts";
import { unpackBody } from "./packed-body.ts";
import type { StoreEngine } from "./store-engine.ts";
import { readApart } from "./stored-group.ts";
import { journalLog, SLOTS } from "./store-keys.ts";

/**
 * The history of a group, as far as it is whole: beside what `load` gives the older snapshot and the journal behind it.
 * Where one of them is damaged, the history begins with the newest snapshot. To be read while nothing is written.
 */
export async function readHistory(
  engine: StoreEngine,
  newest: GroupRecord,
  stored: StoredGroup,
): Promise<GroupHistory> {
  const about = { meta: stored.snapshot ?? newest, degraded: newest.degraded, newest: stored.snapshot };
  const older = await readOlder(engine, newest);
  const earlier = older && (await readEarlier(engine, newest, older.seq));
  if (older === undefined || earlier === undefined) return { ...about, older: undefined, records: stored.records };
  return { ...about, older: older.snapshot, records: [...earlier, ...stored.records] };
}

interface Older {
  /** Number of its first journal record. */
  readonly seq: number;
  /** Absent in a record that only says where the journal begins. */
  readonly snapshot: GroupSnapshot | undefined;
}

async function readOlder(engine: StoreEngine, newest: GroupRecord): Promise<Older | undefined> {
  const { key, epoch, generation } = newest;
  if (generation === 0) return undefined;
  const [slots] = await readSlots(engine, [key]);
  try {
    for (const slot of SLOTS) {
      const bytes = slots?.values[slot];
      const record = bytes && decodeRecord(bytes, key, slot);
      if (record === undefined || record.epoch !== epoch || record.generation >= generation) continue;
      const { seq } = markOf(record.bytes);
      if (record.generation === 0) return { seq, snapshot: undefined };
      const body = record.body() ?? (await readApart(engine, record))?.body();
      return body && { seq, snapshot: record.snapshot(await unpackBody(body)) };
    }
  } catch (error) {
    corruption(error);
  }
  return undefined;
}

/** The journal from `from` to the newest snapshot; undefined when it has a hole. */
async function readEarlier(
  engine: StoreEngine,
  { id, key, epoch, seq: end }: GroupRecord,
  from: number,
): Promise<readonly JournalRecord[] | undefined> {
  const records: JournalRecord[] = [];
  if (from >= end) return records;
  const log = journalLog(key, epoch);
  try {
    for await (const page of engine.backend.readLog(log, from)) {
      for (const { seq, value } of page) {
        if (seq >= end) return records;
        const { position, count, body } = decodeEntry(value, log, seq);
        const last = records.at(-1);
        const follows = last === undefined || last.position + last.count === position;
        if (seq !== from + records.length || !follows) return undefined;
        records.push({ id, epoch, position, count, bytes: await unpackBody(body) });
      }
    }
  } catch (error) {
    corruption(error);
    return undefined;
  }
  return records.length === end - from ? records : undefined;
}
