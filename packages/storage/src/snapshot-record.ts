/**
 * A snapshot: its value under `s` + group key + uint(epoch) + uint(generation).
 *
 * | field      | bytes                                                              |
 * |------------|--------------------------------------------------------------------|
 * | magic      | 4: `CGSN`                                                          |
 * | version    | 1: 1                                                               |
 * | meta       | see group-meta.ts                                                  |
 * | generation | uint, from 1 on                                                    |
 * | position   | uint: events of the journal that the body holds                    |
 * | sequence   | uint: number of the first journal record at or behind the position |
 * | taken at   | uint: Unix ms                                                      |
 * | body       | see packed-body.ts                                                 |
 * | seal       | 4: CRC-32, see sealed.ts                                           |
 *
 * Later versions keep magic, version and seal where they are.
 */
import { Reader, Writer } from "@coppice/crdt";
import type { Mark } from "./catalogue-row.ts";
import { StorageError } from "./error.ts";
import { type Meta, readMeta } from "./group-meta.ts";
import { type PackedBody, readPackedBody, writePackedBody } from "./packed-body.ts";
import { checkSeal, decodeSealed, seal } from "./sealed.ts";

const MAGIC = [0x43, 0x47, 0x53, 0x4e] as const;
const VERSION = 1;

export interface SnapshotRecord {
  readonly meta: Meta;
  readonly mark: Mark;
  readonly takenAt: number;
  readonly body: PackedBody;
}

const scratch = new Writer(1024);

/** @param meta as `encodeMeta` makes it */
export function encodeSnapshot(record: Omit<SnapshotRecord, "meta">, meta: Uint8Array, key: string): Uint8Array {
  // A huge body must not stay in memory for good as the scratch buffer.
  const large = record.body.bytes.length > 1 << 20;
  const writer = large ? new Writer(record.body.bytes.length + 1024) : scratch;
  writer.reset();
  for (const byte of MAGIC) writer.byte(byte);
  writer.byte(VERSION);
  writer.raw(meta);
  writer.uint(record.mark.generation);
  writer.uint(record.mark.position);
  writer.uint(record.mark.seq);
  writer.uint(record.takenAt);
  writePackedBody(writer, record.body);
  return seal(writer, key);
}

/** Throws `CORRUPT`, or `UNSUPPORTED_FORMAT` for a whole record that this build or runtime cannot read. */
export function decodeSnapshot(bytes: Uint8Array, key: string): SnapshotRecord {
  const end = checkSeal(bytes, key);
  if (end < 5 || MAGIC.some((byte, index) => bytes[index] !== byte)) throw new StorageError("CORRUPT", "no snapshot");
  if (bytes[4] !== VERSION) {
    throw new StorageError("UNSUPPORTED_FORMAT", `a snapshot of format ${bytes[4]}, written by a newer version`);
  }
  return decodeSealed(() => {
    const reader = new Reader(bytes, 5, end);
    const meta = readMeta(reader);
    const mark = { generation: reader.uint(), position: reader.uint(), seq: reader.uint() };
    const takenAt = reader.uint();
    return { meta, mark, takenAt, body: readPackedBody(reader) };
  });
}
