import { isKey, type Op } from "./backend.ts";
import { StorageError, throwIfAborted } from "./error.ts";
import type { GroupId } from "./group-id.ts";
import {
  decodeApart,
  decodeRecord,
  emptyRecord,
  GroupRecord,
  recordSeed,
  slotOf,
  withDegraded,
} from "./group-record.ts";
import { readSlots, type SlotValues } from "./group-records.ts";
import { appendTo, emptyState, type GroupState, stateOf } from "./group-state.ts";
import type { Damage } from "./group-storage.ts";
import { decodeEntry, type JournalEntry } from "./journal-entry.ts";
import type { PackedBody } from "./packed-body.ts";
import { rebuildRecords } from "./record-rebuild.ts";
import type { StoreEngine } from "./store-engine.ts";
import {
  APART_SPACE,
  apartKey,
  journalLog,
  quarantineKey,
  quarantineOther,
  recordKey,
  type Slot,
  SLOTS,
} from "./store-keys.ts";

/** A group as read, and what must be written before anything else is written to it. */
export interface GroupReading {
  /** Undefined when nothing readable was left of the group. */
  readonly record: GroupRecord | undefined;
  readonly state: GroupState;
  /** The body of the record's snapshot; undefined when there is none, and when it was not wanted and lies apart. */
  readonly body: PackedBody | undefined;
  readonly entries: readonly JournalEntry[];
  readonly damage: readonly Damage[];
  /** Moves what is damaged aside and brings the group's records in line; empty when all is well. */
  readonly repairs: readonly Op[];
}

export interface ReadingOptions {
  /** Whether the snapshot is wanted; without, one that lies apart is not read, and its damage not found. */
  readonly snapshot: boolean;
  /** The group's slots, when they were read before. */
  readonly slots?: SlotValues | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface Findings {
  readonly id: GroupId;
  readonly damage: Damage[];
  readonly repairs: Op[];
}

interface Chosen {
  /** The newest record with a whole body. */
  readonly newest: GroupRecord;
  readonly body: PackedBody | undefined;
  /** The older one, in the other slot. */
  readonly other: GroupRecord | undefined;
}

/**
 * Reads a group: its newest record with a whole snapshot, and the journal from there to its first hole.
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
  const { damage, repairs } = findings;
  const slots = options.slots ?? (await readSlots(engine, [key]))[0];
  const records = await readRecords(engine, key, slots?.values ?? [], findings);
  if (records === undefined) return undefined;
  const [top] = records;
  if (top === undefined) {
    repairs.push(...(await moveRest(engine, key)));
    return { record: undefined, state: emptyState(), body: undefined, entries: [], damage, repairs };
  }
  throwIfAborted(options.signal);
  const { newest, body, other } = options.snapshot
    ? await choose(engine, key, records, findings)
    : { newest: top, body: undefined, other: records[1] };
  const state = stateOf(newest, other?.bytes);
  const entries = await readJournal(engine, key, newest, state, findings, options.signal);
  if (damage.length === 0) return { record: newest, state, body, entries, damage, repairs };
  // A record rebuilt from what it describes lost nothing, and a tombstone has nothing to lose.
  const lost = newest.epoch % 2 === 1 && damage.some(({ action }) => action === "quarantined");
  const degraded = newest.degraded || lost;
  const record = new GroupRecord(key, withDegraded(newest.bytes, key, degraded));
  state.degraded = degraded;
  state.record = degraded ? record.bytes : undefined;
  repairs.push(...putRecords(key, record, other));
  return { record, state, body, entries, damage, repairs };
}

/** Moves aside what else there is of a group without records: another group under its id must not write into it. */
async function moveRest({ backend }: StoreEngine, key: string): Promise<Op[]> {
  const ops: Op[] = [];
  for await (const page of backend.scan({ prefix: APART_SPACE + key })) {
    for (const { key: place, value } of page.filter((entry) => isKey(entry.key))) {
      ops.push({ op: "put", key: quarantineOther(place, value), value }, { op: "del", key: place });
    }
  }
  for await (const page of backend.listLogs({ prefix: key })) {
    for (const { log, first, last } of page.filter((range) => isKey(range.log))) {
      for await (const entries of backend.readLog(log, first)) {
        for (const { seq, value } of entries) {
          ops.push({ op: "put", key: quarantineOther(`${log}!${seq}`, value), value });
        }
      }
      ops.push({ op: "truncate", log, from: first, upto: last + 1 });
    }
  }
  return ops;
}

/** Writes both slots: what was in them is moved aside by now. */
function putRecords(key: string, newest: GroupRecord, other: GroupRecord | undefined): Op[] {
  const { epoch, type, time, seq, degraded } = newest;
  const rest = other?.bytes ?? emptyRecord(recordSeed(key), { epoch, type, time }, { seq, isDegraded: degraded });
  const own = newest.generation > 0 ? slotOf(newest.generation) : 0;
  return SLOTS.map((slot) => ({
    op: "put",
    key: recordKey(key, slot),
    value: slot === own || newest.generation === 0 ? newest.bytes : rest,
  }));
}

/** The group's records of its highest epoch, the newest first; undefined when there is nothing of it. */
async function readRecords(
  engine: StoreEngine,
  key: string,
  values: readonly (Uint8Array | undefined)[],
  findings: Findings,
): Promise<GroupRecord[] | undefined> {
  if (values.every((value) => value === undefined)) return undefined;
  const records: GroupRecord[] = [];
  const faults: { readonly slot: Slot; readonly value: Uint8Array | undefined; readonly reason: string }[] = [];
  for (const slot of SLOTS) {
    const value = values[slot];
    try {
      if (value === undefined) faults.push({ slot, value, reason: "the record is missing" });
      else records.push(decodeRecord(value, key, slot));
    } catch (error) {
      faults.push({ slot, value, reason: corruption(error) });
    }
  }
  const rebuilt = faults.length === 0 ? [] : await rebuildRecords(engine.backend, key);
  const epoch = Math.max(...[...records, ...rebuilt].map((record) => record.epoch));
  for (const { slot, value, reason } of faults) {
    const again = rebuilt.find((record) => {
      const beside = records.every((whole) => whole.epoch < epoch || isNext(whole, record));
      return record.epoch === epoch && slotOf(record.generation) === slot && beside;
    });
    findings.damage.push({ id: findings.id, record: "catalogue", action: again ? "rebuilt" : "quarantined", reason });
    if (value !== undefined) {
      const aside = quarantineKey(key, "c", Number.isFinite(epoch) ? epoch : 0, slot, value);
      findings.repairs.push({ op: "put", key: aside, value }, { op: "del", key: recordKey(key, slot) });
    }
    if (again !== undefined) records.push(again);
  }
  return records.filter((record) => record.epoch === epoch).sort((a, b) => b.generation - a.generation);
}

function isNext(a: GroupRecord, b: GroupRecord): boolean {
  return Math.abs(a.generation - b.generation) === 1 || a.generation === 0;
}

/** The newest record whose snapshot is whole, or one without a snapshot when there is none. */
async function choose(
  engine: StoreEngine,
  key: string,
  records: readonly GroupRecord[],
  findings: Findings,
): Promise<Chosen> {
  for (const [index, record] of records.entries()) {
    const other = records[index + 1];
    if (record.generation === 0) return { newest: record, body: undefined, other };
    if (!record.isApart) return { newest: record, body: record.body(), other };
    const slot = slotOf(record.generation);
    const at = apartKey(key, record.epoch, slot);
    const bytes = await engine.get(at);
    let reason = "the record is missing";
    if (bytes !== undefined) {
      try {
        const apart = decodeApart(bytes, key, { epoch: record.epoch, slot });
        if (apart.generation === record.generation) return { newest: record, body: apart.body(), other };
        reason = `it is of generation ${apart.generation}`;
      } catch (error) {
        reason = corruption(error);
      }
      const aside = quarantineKey(key, "s", record.epoch, slot, bytes);
      findings.repairs.push({ op: "put", key: aside, value: bytes }, { op: "del", key: at });
    }
    findings.damage.push({ id: findings.id, record: "snapshot", action: "quarantined", reason });
  }
  // Nothing is known of the state any more, so the record must not claim anything.
  const [{ epoch, type, time }] = records as [GroupRecord];
  const newest = new GroupRecord(
    key,
    emptyRecord(recordSeed(key), { epoch, type, time }, { seq: 0, isDegraded: true }),
  );
  return { newest, body: undefined, other: undefined };
}

async function readJournal(
  engine: StoreEngine,
  key: string,
  record: GroupRecord,
  state: GroupState,
  findings: Findings,
  signal: AbortSignal | undefined,
): Promise<JournalEntry[]> {
  const log = journalLog(key, record.epoch);
  const entries: JournalEntry[] = [];
  if (!(await engine.journals.reaches(log, state.nextSeq))) return entries;
  let hole: string | undefined;
  let last = -1;
  for await (const page of engine.backend.readLog(log, state.nextSeq, { ...(signal && { signal }) })) {
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
      const aside = quarantineKey(key, "j", record.epoch, seq, value);
      findings.repairs.push({ op: "put", key: aside, value });
    }
  }
  if (hole !== undefined) {
    findings.damage.push({ id: findings.id, record: "journal", action: "quarantined", reason: hole });
    findings.repairs.push({ op: "truncate", log, from: state.nextSeq, upto: last + 1 });
  }
  return entries;
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
