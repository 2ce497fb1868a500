import { type Origin, keysOf } from "./core/changes.ts";

/** Changes for one reader, from oldest to newest: those of one origin that wait become one. */
export class ChangeStream<Item> implements AsyncIterableIterator<Item> {
  readonly #itemOf: (origin: Origin, keys: ReadonlySet<string>) => Item;
  readonly #ended: () => void;
  readonly #waiting = new Map<Origin, Set<string>>();
  /** A reader may ask for the next one before it has got the last. */
  #readers: (() => void)[] = [];
  #hasEnded = false;

  /** @param ended told once, when nobody reads any more */
  constructor(itemOf: (origin: Origin, keys: ReadonlySet<string>) => Item, ended: () => void) {
    this.#itemOf = itemOf;
    this.#ended = ended;
  }

  push(origin: Origin, keys: ReadonlySet<string>): void {
    const merged = keysOf(this.#waiting, origin);
    for (const key of keys) merged.add(key);
    this.#wake();
  }

  /** Nothing more is read; idempotent. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#ended();
    this.#wake();
  }

  async next(): Promise<IteratorResult<Item>> {
    while (!this.#hasEnded) {
      for (const [origin, keys] of this.#waiting) {
        this.#waiting.delete(origin);
        return { done: false, value: this.#itemOf(origin, keys) };
      }
      await new Promise<void>((resolve) => void this.#readers.push(resolve));
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Item>> {
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #wake(): void {
    const readers = this.#readers;
    this.#readers = [];
    for (const goOn of readers) goOn();
  }
}
