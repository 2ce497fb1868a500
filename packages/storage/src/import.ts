import { StorageError, throwIfAborted } from "./error.ts";
import { readBlocks, type TransferProgress } from "./export.ts";
import { type Block, HEADER_BYTES } from "./export-format.ts";
import { decodeGroupKey, encodeGroupPrefix, formatGroupId, type GroupId } from "./group-id.ts";
import type { CatalogueRow, Digest, GroupCommit, GroupMeta, GroupStorage } from "./group-storage.ts";
import { unpackBody } from "./packed-body.ts";
import { untilAborted } from "./until-aborted.ts";

export interface ImportOptions {
  /** Only groups that match (see `encodeGroupPrefix`). */
  readonly prefix?: GroupId;
  /**
   * Replace groups that are stored with other content, and delete those that the export knows as deleted. Such a group
   * begins a new epoch, as if it had been deleted and created again, so that peers take the imported state instead of
   * merging the two. Its digest is the caller's to make. Without this such groups are refused.
   */
  readonly overwrite?: { readonly digest: (meta: Omit<GroupMeta, "digest">) => Digest };
  /**
   * Begin a new epoch for every group, also for those that are not stored: what is imported is older than what peers
   * may have. Tombstones are no obstacle then. Its digest is the caller's to make.
   */
  readonly renew?: { readonly digest: (meta: Omit<GroupMeta, "digest">) => Digest };
  /** Leave groups alone that are stored with other content, instead of refusing. Default false. */
  readonly skipExisting?: boolean;
  readonly onProgress?: (progress: TransferProgress) => void;
  readonly signal?: AbortSignal;
}

export interface ImportReport extends TransferProgress {
  /** Groups written, and tombstones written. */
  readonly imported: number;
  readonly deleted: number;
  /** Groups that were stored already, alike. */
  readonly present: number;
  /** Groups left alone because of `skipExisting`. */
  readonly skipped: number;
  readonly overwritten: number;
}

/**
 * Writes an export into a storage. A group that is there already with the same content counts as present, so an import
 * that was cut short is simply run again. Fails with `EXISTS` at the first group that is stored with other content,
 * unless told otherwise, and with `CORRUPT` at the first damaged block; what came before stays. Synced at the end.
 */
export async function importGroups(
  storage: GroupStorage,
  chunks: AsyncIterable<Uint8Array>,
  options: ImportOptions = {},
): Promise<ImportReport> {
  const { signal, onProgress } = options;
  const matches = matcher(options.prefix);
  const report = { groups: 0, bytes: HEADER_BYTES, imported: 0, deleted: 0, present: 0, skipped: 0, overwritten: 0 };
  for await (const { block, bytes } of readBlocks(untilAborted(chunks, signal))) {
    throwIfAborted(signal);
    report.bytes += bytes;
    if (block.kind === "end" || !matches(block.key)) continue;
    report.groups++;
    report[await importBlock(storage, block, options)]++;
    onProgress?.({ groups: report.groups, bytes: report.bytes });
  }
  await storage.sync();
  return report;
}

function matcher(prefix: GroupId | undefined): (key: string) => boolean {
  if (prefix === undefined) return () => true;
  const start = encodeGroupPrefix(prefix);
  return (key) => key.startsWith(start);
}

type GroupBlock = Exclude<Block, { kind: "end" }>;
type Outcome = "imported" | "deleted" | "present" | "skipped" | "overwritten";

async function importBlock(storage: GroupStorage, block: GroupBlock, options: ImportOptions): Promise<Outcome> {
  const id = decodeGroupKey(block.key);
  const stored = await storage.row(id);
  const meta: GroupMeta = { ...block.meta, id };
  if (options.renew !== undefined && block.kind === "group") return await renewBlock(storage, block, meta, options);
  if (stored !== undefined && (await isAlike(storage, stored, block))) return "present";
  const isThere = stored !== undefined && isLiving(stored.epoch);
  const isNewer = stored === undefined || stored.epoch < meta.epoch;
  if (options.overwrite === undefined && (isThere || !isNewer)) return refuse(id, isThere, options);
  if (isNewer) await commitBlock(storage, await commitOf(block, meta));
  else await commitBlock(storage, await commitOf(block, inEpochAfter(stored.epoch, meta, options.overwrite)));
  if (block.kind === "deleted") return "deleted";
  return isThere || !isNewer ? "overwritten" : "imported";
}

function isLiving(epoch: number): boolean {
  return epoch % 2 === 1;
}

/** A group, or a tombstone, in the next epoch of its kind. */
function inEpochAfter(epoch: number, meta: GroupMeta, renewal: ImportOptions["overwrite"]): GroupMeta {
  const renewed = { ...meta, epoch: epoch + (isLiving(epoch) === isLiving(meta.epoch) ? 2 : 1) };
  return { ...renewed, digest: renewal?.digest(renewed) ?? meta.digest };
}

function refuse(id: GroupId, isThere: boolean, options: ImportOptions): Outcome {
  if (options.skipExisting === true) return "skipped";
  const reason = isThere ? "is stored already, with other content" : "was deleted since";
  const advice = "import with overwrite, or skip existing groups";
  throw new StorageError("EXISTS", `${formatGroupId(id)} ${reason}: ${advice}`);
}

async function renewBlock(
  storage: GroupStorage,
  block: GroupBlock,
  meta: GroupMeta,
  options: ImportOptions,
): Promise<Outcome> {
  const stored = await storage.row(meta.id);
  const isThere = stored !== undefined && isLiving(stored.epoch);
  if (isThere && options.overwrite === undefined) return refuse(meta.id, isThere, options);
  const last = Math.max(meta.epoch, stored?.epoch ?? 0);
  await commitBlock(storage, await commitOf(block, inEpochAfter(last, meta, options.renew)));
  return isThere ? "overwritten" : "imported";
}

/** What the store takes for a mistake of its caller is one of the file here: whole blocks that nobody exported. */
async function commitBlock(storage: GroupStorage, commit: GroupCommit): Promise<void> {
  try {
    await storage.commit(commit);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new StorageError("CORRUPT", `a block makes no sense: ${cause.message}`, { cause });
  }
}

async function isAlike(storage: GroupStorage, stored: CatalogueRow, block: GroupBlock): Promise<boolean> {
  const { meta } = block;
  if (block.kind === "deleted") return !isLiving(stored.epoch) && stored.epoch >= meta.epoch;
  if (stored.epoch !== meta.epoch || stored.type !== meta.type) return false;
  if (!stored.vector.equals(meta.vector)) return false;
  // The vector is as of the snapshot; the journal behind it tells whether the rest is the same.
  const records = (await storage.load(stored.id))?.records ?? [];
  return (
    records.length === block.records.length &&
    records.every(({ bytes }, index) => equalBytes(bytes, block.records[index]?.bytes ?? new Uint8Array(0)))
  );
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** One commit for a whole group: it is there with all it has, or not at all. */
async function commitOf(block: GroupBlock, meta: GroupMeta): Promise<GroupCommit> {
  if (block.kind === "deleted") return { deletions: [meta] };
  const { id, epoch } = meta;
  let position = 0;
  const records = block.records.map(({ count, bytes }) => {
    const record = { id, epoch, position, count, bytes };
    position += count;
    return record;
  });
  const snapshot = block.body && { ...meta, journalPosition: block.repeated, body: await unpackBody(block.body) };
  return { created: [meta], records, ...(snapshot && { snapshots: [snapshot] }) };
}
