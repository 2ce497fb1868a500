/**
 * LevelDB's log, as far as it takes to see whether it is whole. LevelDB itself drops, without a word, what stands behind
 * a rotten byte in a block.
 *
 * | part   | bytes                                                                                       |
 * |--------|---------------------------------------------------------------------------------------------|
 * | block  | 32 KiB, the last one fewer: records, and zeros where less than a record's head is left      |
 * | record | 4: masked CRC-32C over all that follows, 2: bytes of data (both little-endian), 1: type, data |
 *
 * Types are 1 whole, 2 first part, 3 middle part, 4 last part. A head of zeros leaves the rest of its block empty.
 */
import { maskedCrc32c } from "./crc32c.ts";

export const BLOCK_BYTES: number = 32 << 10;
const HEAD_BYTES = 7;
const TYPE_MAX = 4;

/**
 * Where a log has rotted; undefined when all of it is whole. What a crash cut short at its end is no rot: the two look
 * alike only where the length of the very last record has rotted.
 *
 * @param blocks all but the last of {@link BLOCK_BYTES}
 */
export async function findRot(blocks: AsyncIterable<Uint8Array>): Promise<number | undefined> {
  let start = 0;
  /** Where nothing was written: a power cut can leave that at the end only. */
  let empty: number | undefined;
  for await (const block of blocks) {
    for (let at = 0; at + HEAD_BYTES <= block.length; at = endOf(block, at)) {
      if (block.subarray(at).every((byte) => byte === 0)) {
        empty ??= start + at;
        break;
      }
      if (empty !== undefined) return empty;
      const isCut = endOf(block, at) > block.length && block.length < BLOCK_BYTES;
      if (isCut) return hasRecord(block, at + 1) ? start + at : undefined;
      if (!isRecord(block, at)) return start + at;
    }
    start += block.length;
  }
  return undefined;
}

function endOf(block: Uint8Array, at: number): number {
  return at + HEAD_BYTES + (block[at + 4] as number) + 256 * (block[at + 5] as number);
}

function isRecord(block: Uint8Array, at: number): boolean {
  const [type, end] = [block[at + HEAD_BYTES - 1] as number, endOf(block, at)];
  if (type === 0 || type > TYPE_MAX || end > block.length) return false;
  const stored = new DataView(block.buffer, block.byteOffset + at).getUint32(0, true);
  return stored === maskedCrc32c(block, at + HEAD_BYTES - 1, end);
}

/** Whether a whole record stands anywhere from `from` on. */
function hasRecord(block: Uint8Array, from: number): boolean {
  for (let at = from; at + HEAD_BYTES <= block.length; at++) if (isRecord(block, at)) return true;
  return false;
}
