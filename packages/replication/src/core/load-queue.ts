import type { Group } from "./group.ts";

/** Bounds how many groups are read from storage at the same time. Those that someone waits for go first. */
export class LoadQueue {
  readonly #read: (group: Group) => void;
  readonly #max: number;
  readonly #reading = new Set<Group>();
  readonly #awaited = new Line();
  readonly #others = new Line();

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
    while (this.#reading.size < this.#max) {
      const group = this.#awaited.take() ?? this.#others.take();
      if (group === undefined) return;
      // It was deleted or created anew while it waited.
      if (group.phase !== "loading") continue;
      this.#reading.add(group);
      this.#read(group);
    }
  }
}

/** Groups that wait: first come, first served. */
class Line {
  readonly #groups = new Set<Group>();
  /** Goes on where it stood: a new one would pass all that were taken before. */
  #cursor = this.#groups.values();

  has(group: Group): boolean {
    return this.#groups.has(group);
  }

  add(group: Group): void {
    this.#groups.add(group);
  }

  delete(group: Group): void {
    this.#groups.delete(group);
  }

  take(): Group | undefined {
    let next = this.#cursor.next();
    if (next.done === true) {
      this.#cursor = this.#groups.values();
      next = this.#cursor.next();
    }
    if (next.done === true) return undefined;
    this.#groups.delete(next.value);
    return next.value;
  }
}
