interface Entry {
  readonly at: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** Virtual time: what is scheduled runs in order of time, and of scheduling among equals. */
export class Timeline {
  #now = 0;
  #order = 0;
  readonly #heap: Entry[] = [];

  /** Milliseconds since the world began. */
  get now(): number {
    return this.#now;
  }

  /** Runs `run` after `delayMs`; returns an undo. */
  readonly schedule = (delayMs: number, run: () => void): (() => void) => {
    const entry: Entry = { at: this.#now + Math.max(0, delayMs), order: this.#order++, run };
    this.#push(entry);
    return () => (entry.run = undefined);
  };

  /** Runs the next entry; false when there is none before `until`, and the time is `until` then. */
  step(until: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.at > until) {
      this.#now = until;
      return false;
    }
    this.#pop();
    this.#now = next.at;
    next.run?.();
    return true;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as Entry;
      if (!isBefore(entry, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const child = right < heap.length && isBefore(heap[right] as Entry, heap[left] as Entry) ? right : left;
      if (!isBefore(heap[child] as Entry, last)) break;
      heap[at] = heap[child] as Entry;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at === b.at ? a.order < b.order : a.at < b.at;
}
