/** Slots of an entry: what to call, and with what. */
const SLOTS = 4;

type Undo = (first: unknown, second: unknown, third: unknown) => void;

/** How to take back what the open event has changed so far. Flat and reused, because every operation adds to it. */
export class UndoLog {
  readonly #slots: unknown[] = [];
  #length = 0;

  push(undo: Undo, first: unknown, second: unknown, third: unknown): void {
    const at = this.#length;
    this.#slots[at] = undo;
    this.#slots[at + 1] = first;
    this.#slots[at + 2] = second;
    this.#slots[at + 3] = third;
    this.#length = at + SLOTS;
  }

  /** Keeps what was changed. What the entries hold is let go of by `clear`. */
  forget(): void {
    this.#length = 0;
  }

  /** Takes everything back, newest change first. */
  rollback(): void {
    while (this.#length > 0) {
      const at = (this.#length -= SLOTS);
      const undo = this.#slots[at] as Undo;
      undo(this.#slots[at + 1], this.#slots[at + 2], this.#slots[at + 3]);
    }
  }

  clear(): void {
    this.#length = 0;
    if (this.#slots.length > 0) this.#slots.length = 0;
  }
}
