import type { Group } from "./group.ts";

/** Changed groups remembered: whoever is further behind starts over. */
const CHANGED_MAX = 100_000;
/** Outdated entries kept before the list is rewritten. */
const OUTDATED_MAX = 1024;

interface Entry {
  readonly key: string;
  readonly seq: number;
  /** The lanes of its digest then, signed. */
  readonly high: number;
  readonly low: number;
}

/** A part of what has changed. */
export interface ChangedPage {
  /** The key of each group once, in the order of their latest changes. */
  readonly keys: readonly string[];
  /** Where to go on. */
  readonly next: number;
  readonly hasMore: boolean;
}

/**
 * Which groups changed since the start of the process, in the order of their latest changes. A change costs O(1), and
 * the memory is bounded: the groups that have not changed for the longest are forgotten, and the floor rises.
 */
export class ChangeLog {
  /** In order; an entry that is not its group's latest is outdated. */
  #entries: Entry[] = [];
  readonly #latest = new Map<string, Entry>();
  #last = 0;
  #floor = 0;

  /** The number of the latest change. */
  get last(): number {
    return this.#last;
  }

  /** The group may have changed. */
  note(group: Group): void {
    const digest = group.digest();
    const [high, low] = [digest[0] | 0, digest[1] | 0];
    const known = this.#latest.get(group.key);
    if (known?.high === high && known.low === low) return;
    const entry = { key: group.key, seq: ++this.#last, high, low };
    this.#latest.set(group.key, entry);
    this.#entries.push(entry);
    if (this.#entries.length > 2 * this.#latest.size + OUTDATED_MAX) this.#rewrite();
    else if (this.#latest.size > CHANGED_MAX) this.#rewrite();
  }

  #rewrite(): void {
    const current = this.#entries.filter((entry) => this.#latest.get(entry.key) === entry);
    // A tenth at once: the list is rewritten once for many changes.
    const surplus = current.length > CHANGED_MAX ? current.length - Math.floor(0.9 * CHANGED_MAX) : 0;
    for (const { key, seq } of current.slice(0, surplus)) {
      this.#latest.delete(key);
      this.#floor = seq;
    }
    this.#entries = current.slice(surplus);
  }

  /** At most `limit` groups that changed after change `seq`; undefined when that is not remembered any more. */
  since(seq: number, limit: number): ChangedPage | undefined {
    if (seq < this.#floor || seq > this.#last) return undefined;
    const keys: string[] = [];
    let next = seq;
    let index = this.#after(seq);
    for (; index < this.#entries.length && keys.length < limit; index++) {
      const entry = this.#entries[index] as Entry;
      next = entry.seq;
      if (this.#latest.get(entry.key) === entry) keys.push(entry.key);
    }
    return { keys, next, hasMore: index < this.#entries.length };
  }

  /** The place of the first entry after change `seq`. */
  #after(seq: number): number {
    let [low, high] = [0, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as Entry).seq <= seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
