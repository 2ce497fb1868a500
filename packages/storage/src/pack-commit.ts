import { type Codec, CODEC_NONE } from "#platform";
import { encodeGroupId, type GroupId } from "./group-id.ts";
import { draftRecord, EPOCH_MAX, INLINE_BYTES_MAX, recordSeed } from "./group-record.ts";
import { type GroupState, UNKNOWN } from "./group-state.ts";
import type { GroupCommit, GroupMeta, GroupSnapshot, JournalRecord } from "./group-storage.ts";
import { type PackedBody, packBody } from "./packed-body.ts";
import { encodeSuperseded } from "./superseded.ts";

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

/** Encodes ids and meta data at once, and compresses bodies. Throws `TypeError` for what makes no sense. */
export async function packCommit(commit: GroupCommit, codec: Codec, now: number): Promise<PackedCommit> {
  // Encoded before the first await: the caller may go on changing its vectors.
  const { created = [], records = [], snapshots = [], repaired = [], deletions = [], superseded = [] } = commit;
  const packed = {
    created: created.map((group) => packEpoch(group, 1)),
    deletions: deletions.map((group) => packEpoch(group, 0)),
    repaired: repaired.map(packGroup),
    superseded: superseded.map((state) => encodeSuperseded(state, now)),
  };
  for (const group of snapshots) checkEpoch(group, 1);
  const packing = [packSnapshots(snapshots, codec), packEntries(records, codec)] as const;
  const [packedSnapshots, entries] = await Promise.all(packing);
  return { ...packed, snapshots: packedSnapshots, records: entries };
}

function packGroup(id: GroupId): PackedGroup {
  const key = encodeGroupId(id);
  return { id, key, seed: recordSeed(key), state: UNKNOWN };
}

function packEpoch(group: GroupMeta, parity: 0 | 1): PackedEpoch {
  checkEpoch(group, parity);
  const { id, epoch } = group;
  return { ...packGroup(id), epoch, record: draftRecord({ epoch, position: 0 }, group, undefined) };
}

function checkEpoch({ type, epoch }: GroupMeta, parity: 0 | 1): void {
  if (type === "") throw new TypeError("a group needs a type");
  if (!Number.isSafeInteger(epoch) || epoch < 1 || epoch > EPOCH_MAX || epoch % 2 !== parity) {
    throw new TypeError(`epoch ${epoch} of a ${parity === 1 ? "living" : "deleted"} group`);
  }
}

async function packSnapshots(groups: readonly GroupSnapshot[], codec: Codec): Promise<PackedSnapshot[]> {
  // Mostly all are small, and a promise for each would cost more than packing it.
  if (groups.every(isSmall)) return groups.map(packSmall);
  return await Promise.all(groups.map(async (group) => (isSmall(group) ? packSmall(group) : packLarge(group, codec))));
}

function isSmall({ body }: GroupSnapshot): boolean {
  return body.length <= INLINE_BYTES_MAX;
}

function packSmall(group: GroupSnapshot): PackedSnapshot {
  const { epoch, journalPosition: position, body: bytes } = group;
  const body = { codec: CODEC_NONE, length: bytes.length, bytes } as const;
  return packed(group, draftRecord({ epoch, position }, group, body), undefined);
}

function packed(group: GroupSnapshot, record: Uint8Array, apart: Uint8Array | undefined): PackedSnapshot {
  const { id, epoch, type, time, journalPosition: position } = group;
  const key = encodeGroupId(id);
  // Spelled out: a spread costs several times as much, and there are very many of these.
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

async function packEntries(records: readonly JournalRecord[], codec: Codec): Promise<PackedEntry[]> {
  const entries: PackedEntry[] = [];
  for (const { id, epoch, position, count, bytes } of records) {
    if (!Number.isSafeInteger(count) || count < 1) throw new TypeError(`a record holds events, not ${count}`);
    const body = packBody(bytes, codec);
    entries.push({ ...packGroup(id), epoch, position, count, body: "then" in body ? await body : body });
  }
  return entries;
}
