/**
 * The portable form of groups: one stream of blocks, the same for every backend.
 *
 * | field  | bytes                                                                              |
 * |--------|------------------------------------------------------------------------------------|
 * | magic  | 8: `COPPICE` and the version, 1                                                    |
 * | blocks | each: 4-byte little-endian length, then a sealed record (see sealed.ts) that long   |
 *
 * The place of a block's seal is `export` and its number, from 0 on: a block that is lost, doubled or moved does not
 * pass. A record begins with its kind:
 *
 * | kind      | then                                                                                       |
 * |-----------|--------------------------------------------------------------------------------------------|
 * | 1 group   | string key, uint epoch, facts and history (group-meta.ts), 1 flags (bit 0 degraded,     |
 * |           | bit 1 has a snapshot), with a snapshot: bytes of packed body (packed-body.ts, codecs 0 and |
 * |           | 1 only) and uint events of it that the first record repeats; uint count of records, each   |
 * |           | uint events and bytes; in backups (bit 2) what was before: uint position in the journal of |
 * |           | its first event, records alike, 1 whether there is an older snapshot, with it: facts and   |
 * |           | history, bytes of packed body, uint events of it that the first of all records repeats     |
 * | 2 deleted | string key, uint epoch, facts and history: a tombstone                                     |
 * | 3 end     | uint number of blocks before it: without it the stream is cut short                         |
 */
import { Reader, Writer } from "@coppice/crdt";
import { StorageError } from "./error.ts";
import { type Meta, readFacts, readHistory, writeFacts, writeHistory } from "./group-meta.ts";
import { type PackedBody, readPackedBody, writePackedBody } from "./packed-body.ts";
import { checkSeal, decodeSealed, seal } from "./sealed.ts";

const MAGIC = new TextEncoder().encode("COPPICE");
const VERSION = 1;
export const HEADER_BYTES = 8;
export const LENGTH_BYTES = 4;
/** Longest block. */
export const BLOCK_BYTES_MAX: number = 2 ** 30;

type EpochMeta = Meta & { readonly epoch: number };

export interface BlockRecord {
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** What was before a group's snapshot, as far as its journal reaches back. */
export interface BlockHistory {
  /** Position in the journal of its first event; the group's own records follow the last of these. */
  readonly position: number;
  readonly records: readonly BlockRecord[];
  readonly older: { readonly meta: Meta; readonly body: PackedBody; readonly repeated: number } | undefined;
}

export type Block =
  | {
      readonly kind: "group";
      readonly key: string;
      readonly meta: EpochMeta;
      readonly degraded: boolean;
      readonly body: PackedBody | undefined;
      /** Events at the start of the first record that the body holds already. */
      readonly repeated: number;
      readonly records: readonly BlockRecord[];
      /** What was before the snapshot; only in backups. */
      readonly history?: BlockHistory | undefined;
    }
  | { readonly kind: "deleted"; readonly key: string; readonly meta: EpochMeta }
  | { readonly kind: "end"; readonly blocks: number };

export function encodeHeader(): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(MAGIC);
  header[HEADER_BYTES - 1] = VERSION;
  return header;
}

/** Throws `CORRUPT` for another kind of stream, `UNSUPPORTED_FORMAT` for a newer version. */
export function checkHeader(bytes: Uint8Array): void {
  if (bytes.length < HEADER_BYTES || MAGIC.some((byte, index) => bytes[index] !== byte)) {
    throw new StorageError("CORRUPT", "this is no export of groups");
  }
  const version = bytes[HEADER_BYTES - 1];
  if (version === VERSION) return;
  throw new StorageError("UNSUPPORTED_FORMAT", `an export of format ${version}, written by a newer version`);
}

/** The block with its length. */
export function encodeBlock(block: Block, index: number): Uint8Array {
  const writer = new Writer(1024);
  if (block.kind === "end") {
    writer.byte(3);
    writer.uint(block.blocks);
  } else {
    writer.byte(block.kind === "group" ? 1 : 2);
    writer.string(block.key);
    writer.uint(block.meta.epoch);
    writeFacts(writer, block.meta);
    writeHistory(writer, block.meta);
  }
  if (block.kind === "group") {
    writer.byte((block.degraded ? 1 : 0) | (block.body ? 2 : 0) | (block.history ? 4 : 0));
    if (block.body) {
      writeBody(writer, block.body);
      writer.uint(block.repeated);
    }
    writeRecords(writer, block.records);
    if (block.history) writeBlockHistory(writer, block.history);
  }
  const record = seal(writer, placeOf(index));
  if (record.length > BLOCK_BYTES_MAX) throw new TypeError(`a block of ${record.length} bytes`);
  const framed = new Uint8Array(LENGTH_BYTES + record.length);
  new DataView(framed.buffer).setUint32(0, record.length, true);
  framed.set(record, LENGTH_BYTES);
  return framed;
}

function writeBlockHistory(writer: Writer, { position, records, older }: BlockHistory): void {
  writer.uint(position);
  writeRecords(writer, records);
  writer.byte(older ? 1 : 0);
  if (older === undefined) return;
  writeFacts(writer, older.meta);
  writeHistory(writer, older.meta);
  writeBody(writer, older.body);
  writer.uint(older.repeated);
}

function readBlockHistory(reader: Reader): BlockHistory {
  const position = reader.uint();
  const records = readRecords(reader);
  if (reader.byte() === 0) return { position, records, older: undefined };
  const meta = { ...readFacts(reader), ...readHistory(reader) };
  return { position, records, older: { meta, body: readBody(reader), repeated: reader.uint() } };
}

function writeBody(writer: Writer, packed: PackedBody): void {
  const body = new Writer(packed.bytes.length + 16);
  writePackedBody(body, packed);
  writer.bytes(body.peek());
}

function readBody(reader: Reader): PackedBody {
  return readPackedBody(new Reader(reader.bytes()));
}

function writeRecords(writer: Writer, records: readonly BlockRecord[]): void {
  writer.uint(records.length);
  for (const { count, bytes } of records) {
    writer.uint(count);
    writer.bytes(bytes);
  }
}

function readRecords(reader: Reader): readonly BlockRecord[] {
  return Array.from({ length: reader.count(2) }, () => ({ count: reader.uint(), bytes: reader.bytes() }));
}

/** Reads a block without its length. Throws `CORRUPT`. */
export function decodeBlock(bytes: Uint8Array, index: number): Block {
  const end = checkSeal(bytes, placeOf(index));
  return decodeSealed(() => {
    const reader = new Reader(bytes, 0, end);
    const block = readBlock(reader);
    reader.done();
    return block;
  });
}

function readBlock(reader: Reader): Block {
  const kind = reader.byte();
  if (kind === 3) return { kind: "end", blocks: reader.uint() };
  if (kind !== 1 && kind !== 2) throw new StorageError("UNSUPPORTED_FORMAT", `an export with blocks of kind ${kind}`);
  const key = reader.string();
  const meta = { epoch: reader.uint(), ...readFacts(reader), ...readHistory(reader) };
  if (kind === 2) return { kind: "deleted", key, meta };
  const flags = reader.byte();
  const body = (flags & 2) === 0 ? undefined : readBody(reader);
  const repeated = body === undefined ? 0 : reader.uint();
  const records = readRecords(reader);
  const history = (flags & 4) === 0 ? undefined : readBlockHistory(reader);
  return { kind: "group", key, meta, degraded: (flags & 1) !== 0, body, repeated, records, history };
}

function placeOf(index: number): string {
  return `export ${index}`;
}
