/** How the history of a group stands in its block of a backup. */
import { CODEC_DEFLATE } from "#platform";
import { StorageError } from "./error.ts";
import type { Block, BlockHistory, BlockRecord } from "./export-format.ts";
import { decodeGroupKey, encodeGroupId } from "./group-id.ts";
import type { GroupHistory, JournalRecord } from "./group-storage.ts";
import { packBody, unpackBody } from "./packed-body.ts";

type GroupBlock = Extract<Block, { kind: "group" }>;

/** A group's block with its history. */
export async function historyBlock(history: GroupHistory): Promise<GroupBlock> {
  const { meta, older, newest, records } = history;
  const position = newest?.journalPosition ?? 0;
  // The first record that the newest snapshot does not hold whole.
  const found = newest === undefined ? 0 : records.findIndex((record) => record.position + record.count > position);
  const split = found === -1 ? records.length : found;
  const [earlier, own] = [records.slice(0, split), records.slice(split)];
  const start = (earlier[0] ?? own[0])?.position ?? position;
  return {
    kind: "group",
    key: encodeGroupId(meta.id),
    meta,
    degraded: history.degraded,
    // Deflate, because every runtime reads it.
    body: newest && (await packBody(newest.body, CODEC_DEFLATE)),
    repeated: newest && own[0] ? position - own[0].position : 0,
    records: own,
    history: {
      position: start,
      records: earlier,
      older: older && {
        meta: older,
        body: await packBody(older.body, CODEC_DEFLATE),
        repeated: older.journalPosition - start,
      },
    },
  };
}

/** The history in a block; of one without, what it has. Throws `CORRUPT`. */
export async function historyOf(block: GroupBlock): Promise<GroupHistory> {
  const { meta, degraded, body, repeated } = block;
  const id = decodeGroupKey(block.key);
  // Without a history nothing tells where in its journal the group stands: not at its start.
  const before: BlockHistory = block.history ?? { position: body === undefined ? 0 : 1, records: [], older: undefined };
  let position = before.position;
  const place = ({ count, bytes }: BlockRecord): JournalRecord => {
    const record = { id, epoch: meta.epoch, position, count, bytes };
    position += count;
    return record;
  };
  const earlier = before.records.map(place);
  const journalPosition = position + repeated;
  const newest = body && { ...meta, id, journalPosition, body: await unpackBody(body) };
  const own = block.records.map(place);
  const older = before.older && {
    ...before.older.meta,
    id,
    epoch: meta.epoch,
    journalPosition: before.position + before.older.repeated,
    body: await unpackBody(before.older.body),
  };
  if (older !== undefined && newest === undefined)
    throw new StorageError("CORRUPT", "an older snapshot without a newer");
  return { meta: { ...meta, id }, degraded, older, newest, records: [...earlier, ...own] };
}
