import type { Codec } from "#platform";
import type { PackedCommit, PackedEpoch, PackedRecord, PackedSnapshot } from "./commit-planner.ts";
import { encodeGroupId } from "./group-id.ts";
import { encodeMeta } from "./group-meta.ts";
import type { GroupCommit, GroupMeta } from "./group-storage.ts";
import { packBody } from "./packed-body.ts";

/** Encodes ids and meta data at once, and compresses bodies. Throws `TypeError` for what makes no sense. */
export async function packCommit(commit: GroupCommit, codec: Codec): Promise<PackedCommit> {
  // Encoded before the first await: the caller may go on changing its vectors.
  const created = (commit.created ?? []).map((group) => packEpoch(group, 1));
  const deletions = (commit.deletions ?? []).map((group) => packEpoch(group, 0));
  const epochs = (commit.snapshots ?? []).map((group) => packEpoch(group, 1));
  const repaired = (commit.repaired ?? []).map((id) => ({ id, key: encodeGroupId(id) }));
  const records: PackedRecord[] = [];
  for (const { id, epoch, position, count, bytes } of commit.records ?? []) {
    if (!Number.isSafeInteger(count) || count < 1) throw new TypeError(`a record holds events, not ${count}`);
    const body = packBody(bytes, codec);
    records.push({ id, key: encodeGroupId(id), epoch, position, count, body: "then" in body ? await body : body });
  }
  const snapshots: PackedSnapshot[] = [];
  for (const [index, { journalPosition, body: bytes }] of (commit.snapshots ?? []).entries()) {
    const body = packBody(bytes, codec);
    const epoch = epochs[index] as PackedEpoch;
    snapshots.push({ ...epoch, position: journalPosition, body: "then" in body ? await body : body });
  }
  return { created, records, snapshots, repaired, deletions };
}

function packEpoch(group: GroupMeta, parity: 0 | 1): PackedEpoch {
  const { id, type, epoch } = group;
  if (type === "") throw new TypeError("a group needs a type");
  if (!Number.isSafeInteger(epoch) || epoch < 1 || epoch % 2 !== parity) {
    throw new TypeError(`epoch ${epoch} of a ${parity === 1 ? "living" : "deleted"} group`);
  }
  return { id, key: encodeGroupId(id), epoch, meta: encodeMeta(group) };
}
