/** Changed groups remembered: whoever is further behind starts over. */
const CHANGED_MAX = 100_000;

/** A part of what has changed. */
export interface ChangedPage {
  /** The key of each group once, in the order of their latest changes. */
  readonly keys: readonly string[];
  /** Where to go on. */
  readonly next: number;
  readonly hasMore: boolean;
}

/**
 * Which groups changed since the start of the process, in the order of their latest changes. A change costs O(1), a look
 * back O(groups), and the memory is bounded: the groups that have not changed for the longest are forgotten, and the
 * floor rises.
 */
export class ChangeLog {
  /** The number of each group's latest change, in this order: a change puts its group behind all others. */
  readonly #latest = new Map<string, number>();
  #last = 0;
  #floor = 0;
  /** Called for each change as it is noted. */
  onNote: ((key: string) => void) | undefined;

  /** The number of the latest change. */
  get last(): number {
    return this.#last;
  }

  /** The group of this key has changed. */
  note(key: string): void {
    this.#latest.delete(key);
    this.#latest.set(key, ++this.#last);
    if (this.#latest.size > CHANGED_MAX) this.#forget(0.1 * CHANGED_MAX);
    this.onNote?.(key);
  }

  /** Many at once: what was deleted from a map is passed over until it is laid out anew. */
  #forget(count: number): void {
    let left = count;
    for (const [key, seq] of this.#latest) {
      if (left-- <= 0) return;
      this.#latest.delete(key);
      this.#floor = seq;
    }
  }

  /** At most `limit` groups that changed after change `seq`; undefined when that is not remembered any more. */
  since(seq: number, limit: number): ChangedPage | undefined {
    if (seq < this.#floor || seq > this.#last) return undefined;
    const keys: string[] = [];
    let next = seq;
    if (seq === this.#last) return { keys, next, hasMore: false };
    for (const [key, latest] of this.#latest) {
      if (latest <= seq) continue;
      if (keys.length >= limit) return { keys, next, hasMore: true };
      keys.push(key);
      next = latest;
    }
    return { keys, next, hasMore: false };
  }
}
