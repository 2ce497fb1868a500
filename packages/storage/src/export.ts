import { CODEC_DEFLATE } from "#platform";
import { StorageError, throwIfAborted } from "./error.ts";
import {
  type Block,
  BLOCK_BYTES_MAX,
  checkHeader,
  decodeBlock,
  encodeBlock,
  encodeHeader,
  HEADER_BYTES,
  LENGTH_BYTES,
} from "./export-format.ts";
import type { GroupId } from "./group-id.ts";
import type { GroupStorage, StoredGroup } from "./group-storage.ts";
import { packBody } from "./packed-body.ts";
import { isAlive, tombstone } from "./stored-group.ts";
import { historyBlock } from "./history-block.ts";

export interface TransferProgress {
  readonly groups: number;
  /** Of the stream, so far. */
  readonly bytes: number;
}

/** Where an export that was cut short goes on; see {@link resumeExport}. */
export interface ExportResume {
  /** Bytes of what was written before that are whole: cut the file here and append. */
  readonly bytes: number;
  readonly blocks: number;
  /** Key of the last group in it. */
  readonly after: string | undefined;
}

export interface ExportOptions {
  /** Only groups that match (see `encodeGroupPrefix`). */
  readonly prefix?: GroupId;
  /** Only this group. */
  readonly id?: GroupId;
  /** Go on where an export with the same other options was cut short. */
  readonly resume?: ExportResume;
  /** Also what was before the newest snapshots, as far as the journals reach back: for `readBackup`. Default false. */
  readonly history?: boolean;
  readonly onProgress?: (progress: TransferProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * The groups of a storage, tombstones included, as one portable stream. Each chunk is a whole block. Neither the node
 * record nor secrets are in it. What is written to a group meanwhile may be in the export or not, never a part of it.
 */
export async function* exportGroups(storage: GroupStorage, options: ExportOptions = {}): AsyncGenerator<Uint8Array> {
  const { resume, onProgress, signal } = options;
  let index = resume?.blocks ?? 0;
  let bytes = resume?.bytes ?? HEADER_BYTES;
  if (resume === undefined) yield encodeHeader();
  for await (const page of selected(storage, options)) {
    for (const group of page) {
      if (resume?.after !== undefined && group.row.key <= resume.after) continue;
      throwIfAborted(signal);
      const history = options.history === true && isAlive(group) ? await storage.history(group.row.id) : undefined;
      const chunk = encodeBlock(await (history === undefined ? blockOf(group) : historyBlock(history)), index++);
      bytes += chunk.length;
      yield chunk;
      onProgress?.({ groups: index, bytes });
    }
  }
  yield encodeBlock({ kind: "end", blocks: index }, index);
}

async function* selected(storage: GroupStorage, options: ExportOptions): AsyncGenerator<readonly StoredGroup[]> {
  const { id, prefix, signal } = options;
  if (id === undefined) {
    yield* storage.loadGroups({ deleted: true, ...(prefix !== undefined && { prefix }), ...(signal && { signal }) });
    return;
  }
  const group = await storage.load(id, { ...(signal && { signal }) });
  const row = group?.row ?? (await storage.row(id));
  if (group !== undefined) yield [group];
  else if (row !== undefined && row.epoch % 2 === 0) yield [tombstone(row)];
}

async function blockOf({ row, snapshot, records }: StoredGroup): Promise<Block> {
  const { key } = row;
  if (row.epoch % 2 === 0) return { kind: "deleted", key, meta: row };
  const first = records[0];
  return {
    kind: "group",
    key,
    meta: snapshot ?? row,
    degraded: row.degraded,
    // Deflate, because every runtime reads it.
    body: snapshot && (await packBody(snapshot.body, CODEC_DEFLATE)),
    repeated: snapshot && first ? snapshot.journalPosition - first.position : 0,
    records,
  };
}

/**
 * Finds where an export that was cut short goes on: behind its last whole block. Throws `CORRUPT` for bytes that are no
 * export, and `INVALID_OPTIONS` for one that is complete.
 */
export async function resumeExport(chunks: AsyncIterable<Uint8Array>): Promise<ExportResume> {
  await using input = new ChunkReader(chunks);
  await readHeader(input);
  let resume: ExportResume = { bytes: HEADER_BYTES, blocks: 0, after: undefined };
  for (;;) {
    const read = await readBlock(input, resume.blocks).catch(noDamage);
    if (read === undefined) return resume;
    if (read.block.kind === "end") throw new StorageError("INVALID_OPTIONS", "this export is complete");
    resume = { bytes: resume.bytes + read.bytes, blocks: resume.blocks + 1, after: read.block.key };
  }
}

function noDamage(error: unknown): undefined {
  if (!(error instanceof StorageError) || error.code !== "CORRUPT") throw error;
}

interface ReadBlock {
  readonly block: Block;
  readonly bytes: number;
}

/**
 * Blocks of a stream that is cut into chunks anyhow. Fails with `CORRUPT` where it is damaged, ends too early, or goes on
 * behind its end. The stream is closed then, too.
 */
export async function* readBlocks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ReadBlock> {
  await using input = new ChunkReader(chunks);
  await readHeader(input);
  for (let index = 0; ; index++) {
    const read = await readBlock(input, index);
    if (read.block.kind === "end") await checkEnd(input, read.block.blocks, index);
    yield read;
    if (read.block.kind === "end") return;
  }
}

async function readHeader(input: ChunkReader): Promise<void> {
  checkHeader((await input.take(HEADER_BYTES)) ?? new Uint8Array(0));
}

async function readBlock(input: ChunkReader, index: number): Promise<ReadBlock> {
  const head = await input.take(LENGTH_BYTES);
  const length = head && new DataView(head.buffer, head.byteOffset).getUint32(0, true);
  if (length !== undefined && length > BLOCK_BYTES_MAX) throw new StorageError("CORRUPT", `a block of ${length} bytes`);
  const body = length === undefined ? undefined : await input.take(length);
  if (body === undefined) throw new StorageError("CORRUPT", `the export ends within block ${index}`);
  return { block: decodeBlock(body, index), bytes: LENGTH_BYTES + body.length };
}

async function checkEnd(input: ChunkReader, blocks: number, found: number): Promise<void> {
  if (blocks !== found) throw new StorageError("CORRUPT", `the export has ${found} blocks instead of ${blocks}`);
  if ((await input.take(1)) !== undefined) throw new StorageError("CORRUPT", "something follows the end of the export");
}

class ChunkReader implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #waiting: Uint8Array[] = [];
  #length = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }

  /** The next `length` bytes; undefined when there are not so many. */
  async take(length: number): Promise<Uint8Array | undefined> {
    while (this.#length < length) {
      const next = await this.#chunks.next();
      if (next.done === true) return undefined;
      this.#waiting.push(next.value);
      this.#length += next.value.length;
    }
    const joined = this.#waiting.length === 1 ? (this.#waiting[0] as Uint8Array) : join(this.#waiting, this.#length);
    this.#length -= length;
    this.#waiting = [joined.subarray(length)];
    return joined.subarray(0, length);
  }
}

function join(parts: readonly Uint8Array[], length: number): Uint8Array {
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
