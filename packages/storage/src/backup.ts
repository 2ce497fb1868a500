/** Backups: exports that also hold, for each group, what was before its newest snapshot. */
import { CODEC_DEFLATE } from "#platform";
import { readBlocks } from "./export.ts";
import { type BlockRecord, encodeBlock, encodeHeader } from "./export-format.ts";
import { decodeGroupKey, encodeGroupId } from "./group-id.ts";
import type { GroupHistory, GroupMeta, GroupSnapshot } from "./group-storage.ts";
import { historyOf } from "./history-block.ts";
import { packBody } from "./packed-body.ts";

/** A group of a backup, or the tombstone of one. */
export type BackedUp =
  | { readonly kind: "group"; readonly history: GroupHistory }
  | { readonly kind: "deleted"; readonly meta: GroupMeta };

/** A group to write into an export: a snapshot, and the journal behind it. */
export interface ExportedGroup {
  readonly meta: GroupMeta;
  readonly degraded: boolean;
  readonly snapshot: GroupSnapshot | undefined;
  /** Events at the start of the first record that the snapshot holds already. */
  readonly repeated: number;
  readonly records: readonly BlockRecord[];
}

/**
 * The groups of a backup with all that it has of them; an export without histories gives what it has. Fails with
 * `CORRUPT` where it is damaged or cut short.
 */
export async function* readBackup(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<BackedUp> {
  for await (const { block } of readBlocks(chunks)) {
    if (block.kind === "end") continue;
    const id = decodeGroupKey(block.key);
    if (block.kind === "deleted") yield { kind: "deleted", meta: { ...block.meta, id } };
    else yield { kind: "group", history: await historyOf(block) };
  }
}

/** Groups, in the order of their ids, as an export for `importGroups`. */
export async function* writeExport(groups: AsyncIterable<ExportedGroup>): AsyncGenerator<Uint8Array> {
  let index = 0;
  yield encodeHeader();
  for await (const { meta, degraded, snapshot, repeated, records } of groups) {
    const body = snapshot && (await packBody(snapshot.body, CODEC_DEFLATE));
    const key = encodeGroupId(meta.id);
    yield encodeBlock({ kind: "group", key, meta, degraded, body, repeated, records }, index++);
  }
  yield encodeBlock({ kind: "end", blocks: index }, index);
}
