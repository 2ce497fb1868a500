import { PAGE_BYTES } from "./backend.ts";
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

/** Groups that are looked up, and then written, together: one by one, each would wait for the storage twice. */
const TOGETHER_MAX = 500;

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
  const report = { groups: 0, bytes: HEADER_BYTES, imported: 0, deleted: 0, present: 0, skipped: 0, overwritten: 0 };
  const blocks = selected(readBlocks(untilAborted(chunks, signal)), options.prefix, (bytes) => (report.bytes += bytes));
  for await (const group of together(blocks)) {
    throwIfAborted(signal);
    for (const outcome of await importBlocks(storage, group, options)) report[outcome]++;
    report.groups += group.length;
    onProgress?.({ groups: report.groups, bytes: report.bytes });
  }
  await storage.sync();
  return report;
}

/** The blocks of groups that match; tells of the bytes of all. */
async function* selected(
  blocks: AsyncIterable<{ readonly block: Block; readonly bytes: number }>,
  prefix: GroupId | undefined,
  tell: (bytes: number) => void,
): AsyncGenerator<GroupBlock> {
  const start = prefix === undefined ? "" : encodeGroupPrefix(prefix);
  for await (const { block, bytes } of blocks) {
    tell(bytes);
    if (block.kind !== "end" && block.key.startsWith(start)) yield block;
  }
}

/** Blocks in lists that do not take much memory. Where the stream fails, what came whole before is the last list. */
async function* together(blocks: AsyncIterable<GroupBlock>): AsyncGenerator<readonly GroupBlock[]> {
  let list: GroupBlock[] = [];
  let bytes = 0;
  try {
    for await (const block of blocks) {
      list.push(block);
      bytes += bytesOf(block);
      if (list.length < TOGETHER_MAX && bytes < PAGE_BYTES) continue;
      yield list;
      [list, bytes] = [[], 0];
    }
  } catch (error) {
    if (list.length > 0) yield list;
    throw error;
  }
  if (list.length > 0) yield list;
}

/** Bytes that a group's commit takes in memory, about. */
function bytesOf(block: GroupBlock): number {
  if (block.kind === "deleted") return 0;
  return block.records.reduce((sum, { bytes }) => sum + bytes.length, block.body?.length ?? 0);
}

type GroupBlock = Exclude<Block, { kind: "end" }>;
type Outcome = "imported" | "deleted" | "present" | "skipped" | "overwritten";

/** What an import makes of a block: nothing is written of one that is present, or skipped. */
interface Plan {
  readonly outcome: Outcome;
  readonly commit?: GroupCommit;
}

/** Imports groups, up to the first that is refused. */
async function importBlocks(
  storage: GroupStorage,
  blocks: readonly GroupBlock[],
  options: ImportOptions,
): Promise<readonly Outcome[]> {
  const plans = await Promise.allSettled(blocks.map((block) => planBlock(storage, block, options)));
  const accepted: Plan[] = [];
  for (const plan of plans) {
    if (plan.status === "rejected") break;
    accepted.push(plan.value);
  }
  const commits = await Promise.allSettled(accepted.map(({ commit }) => commitGroup(storage, commit)));
  for (const result of [...commits, ...plans]) if (result.status === "rejected") throw result.reason;
  return accepted.map(({ outcome }) => outcome);
}

async function planBlock(storage: GroupStorage, block: GroupBlock, options: ImportOptions): Promise<Plan> {
  const id = decodeGroupKey(block.key);
  const stored = await storage.row(id);
  const meta: GroupMeta = { ...block.meta, id };
  if (options.renew !== undefined && block.kind === "group") return await planRenewal(block, meta, stored, options);
  if (stored !== undefined && (await isAlike(storage, stored, block))) return { outcome: "present" };
  const isThere = stored !== undefined && isLiving(stored.epoch);
  const isNewer = stored === undefined || stored.epoch < meta.epoch;
  if (options.overwrite === undefined && (isThere || !isNewer)) return refuse(id, isThere, options);
  const commit = await commitOf(block, isNewer ? meta : inEpochAfter(stored.epoch, meta, options.overwrite));
  if (block.kind === "deleted") return { outcome: "deleted", commit };
  return { outcome: isThere || !isNewer ? "overwritten" : "imported", commit };
}

function isLiving(epoch: number): boolean {
  return epoch % 2 === 1;
}

/** A group, or a tombstone, in the next epoch of its kind. */
function inEpochAfter(epoch: number, meta: GroupMeta, renewal: ImportOptions["overwrite"]): GroupMeta {
  const renewed = { ...meta, epoch: epoch + (isLiving(epoch) === isLiving(meta.epoch) ? 2 : 1) };
  return { ...renewed, digest: renewal?.digest(renewed) ?? meta.digest };
}

function refuse(id: GroupId, isThere: boolean, options: ImportOptions): Plan {
  if (options.skipExisting === true) return { outcome: "skipped" };
  const reason = isThere ? "is stored already, with other content" : "was deleted since";
  const advice = "overwrite groups that are there, or skip existing ones";
  throw new StorageError("EXISTS", `${formatGroupId(id)} ${reason}: ${advice}`);
}

async function planRenewal(
  block: GroupBlock,
  meta: GroupMeta,
  stored: CatalogueRow | undefined,
  options: ImportOptions,
): Promise<Plan> {
  const isThere = stored !== undefined && isLiving(stored.epoch);
  if (isThere && options.overwrite === undefined) return refuse(meta.id, isThere, options);
  const last = Math.max(meta.epoch, stored?.epoch ?? 0);
  const commit = await commitOf(block, inEpochAfter(last, meta, options.renew));
  return { outcome: isThere ? "overwritten" : "imported", commit };
}

/** What the store takes for a mistake of its caller is one of the file here: whole blocks that nobody exported. */
async function commitGroup(storage: GroupStorage, commit: GroupCommit | undefined): Promise<void> {
  if (commit === undefined) return;
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
