import type { Writer } from "@coppice/crdt";

/** Bytes of a chunk. A record that is longer gets a chunk of its own. */
const CHUNK_BYTES = 1 << 18;
/** Before each record stands its length, little-endian. */
const LENGTH_BYTES = 3;

/**
 * Many small records in few large arrays: an array each would cost more than what is in it. Holds up to 4 GiB. Who
 * drops records is to move the others to a new arena when `isWasteful` says so.
 */
export class ByteArena {
  readonly #chunks: Uint8Array[] = [];
  #end = 0;
  #usedBytes = 0;
  #droppedBytes = 0;

  /** Whether most of it is dropped records. */
  get isWasteful(): boolean {
    return this.#usedBytes > CHUNK_BYTES && 2 * this.#droppedBytes > this.#usedBytes;
  }

  /** Keeps a copy of what was written; returns where it is. Throws `RangeError` from 16 MiB on. */
  add(record: Writer): number {
    const { length } = record;
    if (length >= 1 << 24) throw new RangeError(`a record of ${length} bytes`);
    const bytes = LENGTH_BYTES + length;
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || this.#end + bytes > chunk.length) {
      chunk = new Uint8Array(Math.max(CHUNK_BYTES, bytes));
      this.#chunks.push(chunk);
      this.#end = 0;
    }
    const reference = (this.#chunks.length - 1) * CHUNK_BYTES + this.#end;
    chunk[this.#end] = length & 255;
    chunk[this.#end + 1] = (length >>> 8) & 255;
    chunk[this.#end + 2] = length >>> 16;
    record.copyTo(chunk, this.#end + LENGTH_BYTES);
    this.#end += bytes;
    this.#usedBytes += bytes;
    return reference;
  }

  /** A record. Not to be changed, nor kept. */
  at(reference: number): Uint8Array {
    const chunk = this.#chunks[Math.floor(reference / CHUNK_BYTES)] ?? new Uint8Array(LENGTH_BYTES);
    const start = reference % CHUNK_BYTES;
    const [a = 0, b = 0, c = 0] = [chunk[start], chunk[start + 1], chunk[start + 2]];
    return chunk.subarray(start + LENGTH_BYTES, start + LENGTH_BYTES + a + (b << 8) + (c << 16));
  }

  /** A record is not needed any more. */
  drop(record: Uint8Array): void {
    this.#droppedBytes += LENGTH_BYTES + record.length;
  }
}
