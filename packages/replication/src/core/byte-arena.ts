/** Bytes of a chunk. A record that is longer gets a chunk of its own. */
const CHUNK_BYTES = 1 << 18;

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

  /** Keeps a copy of a record; returns where it is. */
  add(record: Uint8Array): number {
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || this.#end + record.length > chunk.length) {
      chunk = new Uint8Array(Math.max(CHUNK_BYTES, record.length));
      this.#chunks.push(chunk);
      this.#end = 0;
    }
    chunk.set(record, this.#end);
    const reference = (this.#chunks.length - 1) * CHUNK_BYTES + this.#end;
    this.#end += record.length;
    this.#usedBytes += record.length;
    return reference;
  }

  /** The bytes from the beginning of a record on: where it ends it says itself. Not to be changed. */
  at(reference: number): Uint8Array {
    const chunk = this.#chunks[Math.floor(reference / CHUNK_BYTES)];
    return (chunk ?? new Uint8Array(0)).subarray(reference % CHUNK_BYTES);
  }

  /** A record of that many bytes is not needed any more. */
  drop(bytes: number): void {
    this.#droppedBytes += bytes;
  }
}
