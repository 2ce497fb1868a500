/**
 * A sealed record ends with the CRC-32 (little-endian) of the place where it belongs and of its bytes. So a record
 * that an engine hands out under another key is as wrong as one with a flipped bit.
 */
import { Writer } from "@coppice/crdt";
import { crc32 } from "#platform";
import { crcOf, crcOfText } from "./crc.ts";
import { StorageError } from "./error.ts";

export const SEAL_BYTES = 4;
/** The place of a seal that is still to be written. */
export const NO_SEAL = 0;

/** The CRC-32 of whatever is followed by its own CRC-32, little-endian. */
const RESIDUE = 0x2144df1c;

/** Bytes of the blocks that short records share. */
const BLOCK_BYTES = 64 * 1024;
let block = new Writer(BLOCK_BYTES);

/**
 * Where to write a record of about so many bytes: from the writer's length on, at once, to be cut off by `peek`. Memory
 * of its own for each of many short records costs more than writing them, so they share blocks.
 */
export function recordWriter(bytes: number): Writer {
  if (bytes > BLOCK_BYTES / 16) return new Writer(bytes);
  if (block.length + bytes > BLOCK_BYTES) block = new Writer(BLOCK_BYTES);
  return block;
}

/** Appends the seal to the record that begins at `start`, and cuts the record off. */
export function seal(writer: Writer, place: string, start = 0): Uint8Array {
  writer.uint32(NO_SEAL);
  const record = writer.peek(start);
  writeSeal(record, placeSeed(place));
  return record;
}

/** Seals a record of which the last bytes are left for that. */
export function writeSeal(record: Uint8Array, seed: number): void {
  const end = record.length - SEAL_BYTES;
  const crc = end > SHORT_BYTES_MAX ? crc32(record.subarray(0, end), seed) : crcOf(record, end, seed);
  record[end] = crc & 255;
  record[end + 1] = (crc >>> 8) & 255;
  record[end + 2] = (crc >>> 16) & 255;
  record[end + 3] = crc >>> 24;
}

/** Up to here plain code is faster than a call of zlib. */
const SHORT_BYTES_MAX = 192;

/** Length of the record without its seal. Throws `CORRUPT` when the seal does not fit. */
export function checkSeal(bytes: Uint8Array, place: string): number {
  const end = bytes.length - SEAL_BYTES;
  if (end < 1) throw new StorageError("CORRUPT", `only ${bytes.length} bytes`);
  if (!isSealed(bytes, placeSeed(place))) throw new StorageError("CORRUPT", "the checksum does not match");
  return end;
}

/** Whether `bytes` end with the seal for a place. */
export function isSealed(bytes: Uint8Array, seed: number): boolean {
  const crc = bytes.length > SHORT_BYTES_MAX ? crc32(bytes, seed) : crcOf(bytes, bytes.length, seed);
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

/** The CRC-32 of a place (ASCII), which that of its record continues. */
export function placeSeed(place: string): number {
  return crcOfText(place);
}
