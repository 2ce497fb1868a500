/** Functions to call back. One that is added twice is called twice, and taken out once for each time. */
export class Watchers<Watcher> implements Iterable<Watcher> {
  readonly #entries = new Set<{ readonly watcher: Watcher }>();

  get size(): number {
    return this.#entries.size;
  }

  /** Adds one; returns how to take it out again, after which it is not handed out any more. */
  add(watcher: Watcher): () => void {
    const entry = { watcher };
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  /** Those that are there now, but those that are taken out before it is their turn. */
  *[Symbol.iterator](): Generator<Watcher> {
    const entries = [...this.#entries];
    for (const entry of entries) if (this.#entries.has(entry)) yield entry.watcher;
  }
}

/** Adds to the watchers under a key; returns how to take it out again. */
export function addWatcher<Key, Watcher>(all: Map<Key, Watchers<Watcher>>, key: Key, watcher: Watcher): () => void {
  const watchers = all.get(key) ?? new Watchers<Watcher>();
  all.set(key, watchers);
  const stop = watchers.add(watcher);
  return () => {
    stop();
    if (watchers.size === 0 && all.get(key) === watchers) all.delete(key);
  };
}
