import { type Codec, CODEC_NONE } from "#platform";
import { encodeGroupId, type GroupId } from "./group-id.ts";
import { draftRecord, EPOCH_MAX, INLINE_BYTES_MAX, recordSeed } from "./group-record.ts";
import { type GroupState, UNKNOWN } from "./group-state.ts";
import type { GroupCommit, GroupMeta, GroupSnapshot, JournalRecord } from "./group-storage.ts";
import { type PackedBody, packBody } from "./packed-body.ts";
import { encodeSuperseded } from "./superseded.ts";

// Objects are spelled out here: a spread costs several times as much as a field, and there are very many of them.

/** A commit with its ids encoded, its bodies compressed, and its records written but for what the planner fills in. */
export interface PackedCommit {
  readonly created: readonly PackedEpoch[];
  readonly records: readonly PackedEntry[];
  readonly snapshots: readonly PackedSnapshot[];
  readonly repaired: readonly PackedGroup[];
  readonly deletions: readonly PackedEpoch[];
  /** States to keep, encoded. */
  readonly superseded: readonly { readonly key: string; readonly value: Uint8Array }[];
}

export interface PackedGroup {
  readonly id: GroupId;
  readonly key: string;
  /** What the seals of its records start from. */
  readonly seed: number;
  /** What is stored of the group: found out before the commit is planned, and shared by all that is written to it. */
  state: GroupState;
}

export interface PackedEpoch extends PackedGroup {
  readonly epoch: number;
  /** To be finished. */
  readonly record: Uint8Array;
}

export interface PackedSnapshot extends PackedEpoch {
  readonly type: string;
  readonly time: number;
  readonly position: number;
  /** The record with the body, to be finished, when that lies apart. */
  readonly apart: Uint8Array | undefined;
}

export interface PackedEntry extends PackedGroup {
  readonly epoch: number;
  readonly position: number;
  readonly count: number;
  readonly body: PackedBody;
}

/** A promise only where something is being compressed. */
export type MaybeLater<Value> = Value | Promise<Value>;

/**
 * Encodes ids and meta data at once, and compresses bodies. Throws `TypeError`, or rejects with it, for what makes no
 * sense.
 */
export function packCommit(commit: GroupCommit, codec: Codec, now: number): MaybeLater<PackedCommit> {
  // All but large bodies is encoded before this returns: the caller may go on changing its vectors.
  for (const group of commit.snapshots ?? NONE) checkEpoch(group, 1);
  const created = each(commit.created, (group) => packEpoch(group, 1));
  const deletions = each(commit.deletions, (group) => packEpoch(group, 0));
  const repaired = each(commit.repaired, packGroup);
  const superseded = each(commit.superseded, (state) => packSuperseded(state, now));
  const snapshots = eachOrLater(commit.snapshots, (group) => packSnapshot(group, codec));
  const records = eachOrLater(commit.records, (record) => packEntry(record, codec));
  if (snapshots instanceof Promise || records instanceof Promise) {
    return Promise.all([snapshots, records]).then(([packed, entries]) => {
      return { created, deletions, repaired, superseded, snapshots: packed, records: entries };
    });
  }
  return { created, deletions, repaired, superseded, snapshots, records };
}

/** All groups that commits write to, in lists: an iterator over all of them costs more than what is done with each. */
export function groupsOf(commits: readonly PackedCommit[]): (readonly PackedGroup[])[] {
  const lists: (readonly PackedGroup[])[] = [];
  for (const { created, records, snapshots, repaired, deletions } of commits) {
    for (const list of [created, records, snapshots, repaired, deletions]) if (list.length > 0) lists.push(list);
  }
  return lists;
}

const NONE: readonly never[] = [];

/** Most commits are small, and most lists of theirs empty: making one for each would cost more than packing the rest. */
function each<Item, Packed>(items: readonly Item[] | undefined, pack: (item: Item) => Packed): readonly Packed[] {
  return items === undefined || items.length === 0 ? NONE : items.map(pack);
}

function eachOrLater<Item, Packed>(
  items: readonly Item[] | undefined,
  pack: (item: Item) => MaybeLater<Packed>,
): MaybeLater<readonly Packed[]> {
  const packed = each(items, pack);
  return packed.some((one) => one instanceof Promise) ? Promise.all(packed) : (packed as readonly Packed[]);
}

function packGroup(id: GroupId): PackedGroup {
  const key = encodeGroupId(id);
  return { id, key, seed: recordSeed(key), state: UNKNOWN };
}

function packEpoch(group: GroupMeta, parity: 0 | 1): PackedEpoch {
  checkEpoch(group, parity);
  const { id, epoch } = group;
  const key = encodeGroupId(id);
  const record = draftRecord({ epoch, position: 0 }, group, undefined);
  return { id, key, seed: recordSeed(key), state: UNKNOWN, epoch, record };
}

function checkEpoch({ type, epoch }: GroupMeta, parity: 0 | 1): void {
  if (type === "") throw new TypeError("a group needs a type");
  if (!Number.isSafeInteger(epoch) || epoch < 1 || epoch > EPOCH_MAX || epoch % 2 !== parity) {
    throw new TypeError(`epoch ${epoch} of a ${parity === 1 ? "living" : "deleted"} group`);
  }
}

function checkBytes(bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) throw new TypeError("states and events must be a Uint8Array");
}

function packSuperseded(state: GroupSnapshot, now: number): PackedCommit["superseded"][number] {
  checkBytes(state.body);
  return encodeSuperseded(state, now);
}

function packSnapshot(group: GroupSnapshot, codec: Codec): MaybeLater<PackedSnapshot> {
  checkBytes(group.body);
  return group.body.length <= INLINE_BYTES_MAX ? packSmall(group) : packLarge(group, codec);
}

function packSmall(group: GroupSnapshot): PackedSnapshot {
  const { epoch, journalPosition: position, body: bytes } = group;
  const body = { codec: CODEC_NONE, length: bytes.length, bytes } as const;
  return packed(group, draftRecord({ epoch, position }, group, body), undefined);
}

function packed(group: GroupSnapshot, record: Uint8Array, apart: Uint8Array | undefined): PackedSnapshot {
  const { id, epoch, type, time, journalPosition: position } = group;
  const key = encodeGroupId(id);
  return { id, key, seed: recordSeed(key), state: UNKNOWN, epoch, type, time, position, record, apart };
}

async function packLarge(group: GroupSnapshot, codec: Codec): Promise<PackedSnapshot> {
  // The caller may go on changing its vector.
  const meta = { ...group, vector: group.vector.clone(), frontier: [...group.frontier] };
  const place = { epoch: group.epoch, position: group.journalPosition };
  const body = await packBody(group.body, codec);
  const whole = draftRecord(place, meta, body);
  if (body.bytes.length <= INLINE_BYTES_MAX) return packed(meta, whole, undefined);
  return packed(meta, draftRecord(place, meta, whole.length), whole);
}

function packEntry(record: JournalRecord, codec: Codec): MaybeLater<PackedEntry> {
  const { position, count, bytes } = record;
  if (!Number.isSafeInteger(count) || count < 1) throw new TypeError(`a record holds events, not ${count}`);
  if (!Number.isSafeInteger(position + count)) throw new TypeError(`a record of ${count} events at ${position}`);
  checkBytes(bytes);
  const body = packBody(bytes, codec);
  return body instanceof Promise ? body.then((smaller) => entryOf(record, smaller)) : entryOf(record, body);
}

function entryOf({ id, epoch, position, count }: JournalRecord, body: PackedBody): PackedEntry {
  const key = encodeGroupId(id);
  return { id, key, seed: recordSeed(key), state: UNKNOWN, epoch, position, count, body };
}
