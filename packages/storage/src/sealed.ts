/**
 * A sealed record ends with the CRC-32 (little-endian) of the place where it belongs and of its bytes. So a record
 * that an engine hands out under another key is as wrong as one with a flipped bit.
 */
import type { Writer } from "@coppice/crdt";
import { crc32 } from "#platform";
import { StorageError } from "./error.ts";

export const SEAL_BYTES = 4;

/** Appends the seal and takes the record. */
export function seal(writer: Writer, place: string): Uint8Array {
  const bytes = writer.peek();
  const crc = crc32(bytes, crc32(place));
  const end = bytes.length;
  const record = allocate(end + SEAL_BYTES);
  record.set(bytes);
  record[end] = crc & 255;
  record[end + 1] = (crc >>> 8) & 255;
  record[end + 2] = (crc >>> 16) & 255;
  record[end + 3] = crc >>> 24;
  return record;
}

/** Bytes of the blocks that short records share. */
const BLOCK_BYTES = 64 * 1024;
let block: Uint8Array = new Uint8Array(0);
let used = 0;

/** Memory of their own for many short records costs more than writing them, so they are cut from blocks. */
function allocate(length: number): Uint8Array {
  if (length > BLOCK_BYTES / 16) return new Uint8Array(length);
  if (used + length > block.length) {
    block = new Uint8Array(BLOCK_BYTES);
    used = 0;
  }
  used += length;
  return block.subarray(used - length, used);
}

/** Length of the record without its seal. Throws `CORRUPT` when the seal does not fit. */
export function checkSeal(bytes: Uint8Array, place: string): number {
  const end = bytes.length - SEAL_BYTES;
  if (end < 1) throw new StorageError("CORRUPT", `only ${bytes.length} bytes`);
  const expected = new DataView(bytes.buffer, bytes.byteOffset + end, SEAL_BYTES).getUint32(0, true);
  const crc = crc32(bytes.subarray(0, end), crc32(place));
  if (crc !== expected) throw new StorageError("CORRUPT", "the checksum does not match");
  return end;
}

/** Runs a decoder of sealed bytes: whatever it throws then is `CORRUPT`, too. */
export function decodeSealed<Result>(decode: () => Result): Result {
  try {
    return decode();
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    throw new StorageError("CORRUPT", cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
