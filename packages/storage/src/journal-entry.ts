/**
 * A journal record: one entry of the log group key + uint(epoch).
 *
 * | field    | bytes                                                          |
 * |----------|----------------------------------------------------------------|
 * | version  | 1: 1                                                           |
 * | position | uint: position of its first event                              |
 * | count    | uint: number of events, at least 1                             |
 * | body     | see packed-body.ts                                             |
 * | seal     | 4: CRC-32 over log, space, sequence number, then these bytes   |
 */
import { Reader } from "@coppice/crdt";
import { StorageError } from "./error.ts";
import { type PackedBody, readPackedBody, writePackedBody } from "./packed-body.ts";
import { checkSeal, decodeSealed, recordWriter, seal } from "./sealed.ts";

const VERSION = 1;
/** Bytes of a record beside its body, at most. */
const ENTRY_BYTES = 32;

export interface JournalEntry {
  readonly position: number;
  readonly count: number;
  readonly body: PackedBody;
}

export function encodeEntry(entry: JournalEntry, log: string, seq: number): Uint8Array {
  const writer = recordWriter(entry.body.bytes.length + ENTRY_BYTES);
  const start = writer.length;
  writer.byte(VERSION);
  writer.uint(entry.position);
  writer.uint(entry.count);
  writePackedBody(writer, entry.body);
  return seal(writer, `${log} ${seq}`, start);
}

/** Throws `CORRUPT`, or `UNSUPPORTED_FORMAT` for a whole record that this build or runtime cannot read. */
export function decodeEntry(bytes: Uint8Array, log: string, seq: number): JournalEntry {
  const end = checkSeal(bytes, `${log} ${seq}`);
  if (bytes[0] !== VERSION) {
    throw new StorageError("UNSUPPORTED_FORMAT", `a journal record of format ${bytes[0]}, written by a newer version`);
  }
  return decodeSealed(() => {
    const reader = new Reader(bytes, 1, end);
    return { position: reader.uint(), count: reader.uint(), body: readPackedBody(reader) };
  });
}
