/**
 * A sealed record ends with the CRC-32 (little-endian) of the place where it belongs and of its bytes. So a record
 * that an engine hands out under another key is as wrong as one with a flipped bit.
 */
import type { Writer } from "@coppice/crdt";
import { crc32 } from "#platform";
import { StorageError } from "./error.ts";

export const SEAL_BYTES = 4;
/** The place of a seal that is still to be written. */
export const NO_SEAL: Uint8Array = new Uint8Array(SEAL_BYTES);

/** The CRC-32 of whatever is followed by its own CRC-32, little-endian. */
const RESIDUE = 0x2144df1c;

/** Appends the seal and takes the record. */
export function seal(writer: Writer, place: string): Uint8Array {
  writer.raw(NO_SEAL);
  const record = take(writer);
  writeSeal(record, placeSeed(place));
  return record;
}

/** Seals a record of which the last bytes are left for that. */
export function writeSeal(record: Uint8Array, seed: number): void {
  const end = record.length - SEAL_BYTES;
  const crc = end > SHORT_BYTES_MAX ? crc32(record.subarray(0, end), seed) : shortCrc(record, end, seed);
  record[end] = crc & 255;
  record[end + 1] = (crc >>> 8) & 255;
  record[end + 2] = (crc >>> 16) & 255;
  record[end + 3] = crc >>> 24;
}

/** Up to here the loop below is faster than a call of zlib. */
const SHORT_BYTES_MAX = 96;

function shortCrc(bytes: Uint8Array, length: number, seed: number): number {
  let crc = ~seed;
  for (let index = 0; index < length; index++) {
    crc = (crc >>> 8) ^ (TABLE[(crc ^ (bytes[index] as number)) & 255] as number);
  }
  return ~crc >>> 0;
}

/** Bytes of the blocks that short records share. */
const BLOCK_BYTES = 64 * 1024;
let block: Uint8Array = new Uint8Array(0);
let used = 0;

/**
 * A copy of what was written. Memory of their own for many short records costs more than writing them, so they are cut
 * from blocks.
 */
export function take(writer: Writer): Uint8Array {
  const { length } = writer;
  if (length > BLOCK_BYTES / 16) return writer.take();
  if (used + length > block.length) {
    block = new Uint8Array(BLOCK_BYTES);
    used = 0;
  }
  const copy = block.subarray(used, used + length);
  used += length;
  copy.set(writer.peek());
  return copy;
}

/** Length of the record without its seal. Throws `CORRUPT` when the seal does not fit. */
export function checkSeal(bytes: Uint8Array, place: string): number {
  const end = bytes.length - SEAL_BYTES;
  if (end < 1) throw new StorageError("CORRUPT", `only ${bytes.length} bytes`);
  if (!isSealed(bytes, placeSeed(place))) throw new StorageError("CORRUPT", "the checksum does not match");
  return end;
}

/** Whether `bytes` end with the seal for a place. */
export function isSealed(bytes: Uint8Array, seed: number): boolean {
  const crc = bytes.length > SHORT_BYTES_MAX ? crc32(bytes, seed) : shortCrc(bytes, bytes.length, seed);
  return crc === RESIDUE;
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

const TABLE = Int32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** The CRC-32 of a place (ASCII), which that of its record continues. Places are short: calling zlib costs more. */
export function placeSeed(place: string): number {
  let crc = -1;
  for (let index = 0; index < place.length; index++) {
    crc = (crc >>> 8) ^ (TABLE[(crc ^ place.charCodeAt(index)) & 255] as number);
  }
  return ~crc >>> 0;
}
