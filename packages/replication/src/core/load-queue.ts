import type { Group } from "./group.ts";

/** Bounds how many groups are read from storage at the same time. Those that someone waits for go first. */
export class LoadQueue {
  readonly #read: (group: Group) => void;
  readonly #max: number;
  readonly #reading = new Set<Group>();
  readonly #awaited = new Set<Group>();
  readonly #others = new Set<Group>();

  constructor(read: (group: Group) => void, max: number) {
    this.#read = read;
    this.#max = max;
  }

  /** Reads a group that is loading, when it is its turn. One that waits already may become awaited. */
  add(group: Group, isAwaited: boolean): void {
    if (this.#reading.has(group) || this.#awaited.has(group)) return;
    if (isAwaited) this.#others.delete(group);
    (isAwaited ? this.#awaited : this.#others).add(group);
    this.#next();
  }

  /** The group was read, or could not be. */
  done(group: Group): void {
    if (this.#reading.delete(group)) this.#next();
  }

  #next(): void {
    for (const waiting of [this.#awaited, this.#others]) {
      for (const group of waiting) {
        if (this.#reading.size >= this.#max) return;
        waiting.delete(group);
        // It was deleted or created anew while it waited.
        if (group.phase !== "loading") continue;
        this.#reading.add(group);
        this.#read(group);
      }
    }
  }
}
