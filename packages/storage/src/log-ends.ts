/** Rows that are full before the table doubles. */
const LOAD_MAX = 0.75;

/**
 * The last sequence number of each of very many logs, by name: 16 bytes a log in an open-addressed table, where a `Map`
 * would take ten times as much. Names are kept as 64 bits of their hash: two of a million logs share them with a chance
 * of 3 in 10^8.
 */
export class LogEnds {
  #hashes = new Uint32Array(2 * 64);
  /** Last + 1 of the log at the same place; 0 is free. One that has ended again is 0.5. */
  #ends = new Float64Array(64);
  #used = 0;

  /** -1 for a log that is not known. */
  get(log: string): number {
    const end = this.#ends[this.#place(...hash(log))] as number;
    return end < 1 ? -1 : end - 1;
  }

  /** @param last -1 when the log has no entries any more */
  set(log: string, last: number): void {
    const [high, low] = hash(log);
    let at = this.#place(high, low);
    if (this.#ends[at] === 0) {
      if (last < 0) return;
      if (++this.#used > LOAD_MAX * this.#ends.length) {
        this.#rehash();
        at = this.#place(high, low);
      }
      this.#hashes[2 * at] = high;
      this.#hashes[2 * at + 1] = low;
    }
    this.#ends[at] = last < 0 ? ENDED : last + 1;
  }

  /** Where a log is, or would be. */
  #place(high: number, low: number): number {
    const mask = this.#ends.length - 1;
    let at = low & mask;
    while (this.#ends[at] !== 0 && (this.#hashes[2 * at + 1] !== low || this.#hashes[2 * at] !== high)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  #rehash(): void {
    const [hashes, ends] = [this.#hashes, this.#ends];
    let living = 1;
    for (const end of ends) if (end >= 1) living++;
    let length = 64;
    while (living > LOAD_MAX * length) length *= 2;
    this.#hashes = new Uint32Array(2 * length);
    this.#ends = new Float64Array(length);
    for (let from = 0; from < ends.length; from++) {
      const end = ends[from] as number;
      if (end < 1) continue;
      const [high, low] = [hashes[2 * from] as number, hashes[2 * from + 1] as number];
      const at = this.#place(high, low);
      this.#hashes[2 * at] = high;
      this.#hashes[2 * at + 1] = low;
      this.#ends[at] = end;
    }
    this.#used = living;
  }
}

const ENDED = 0.5;

/** 64 bits of a name (cyrb53's mixing). */
function hash(text: string): [high: number, low: number] {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return [high >>> 0, low >>> 0];
}
