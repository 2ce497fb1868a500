import { addToCounter, checkInteger, readCounter } from "./kernel/counter.ts";
import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_GCOUNTER } from "./kernel/kinds.ts";

/** Reads a grow-only counter. */
export interface GCounterView {
  /** The sum of all increments. */
  get(): number;
}

/** Changes a grow-only counter. */
export interface GCounterMutator extends GCounterView {
  /**
   * Adds `amount`, 1 by default; adding 0 changes nothing and makes no event. Throws `TypeError` for anything but a
   * safe integer, and `RangeError` for a negative amount or a sum past the safe integers.
   */
  increment(amount?: number): void;
}

class GCounterCursor implements GCounterMutator {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get(): number {
    return readCounter(this.#cursor.find());
  }

  increment(amount = 1): void {
    checkInteger(amount);
    if (amount < 0) throw new RangeError(`a grow-only counter cannot take back ${-amount}`);
    if (amount > 0) addToCounter(this.#cursor, amount);
    else this.#cursor.begin();
  }
}

/**
 * A counter that only grows. Concurrent increments add up, each exactly once.
 *
 * In a map, removing the key cancels exactly the increments that the remover had seen; concurrent ones survive with
 * their own amounts.
 */
export const gCounter: NestableType<number, GCounterMutator, GCounterView> = kernelType(
  "gcounter",
  { kind: KIND_GCOUNTER, bind: (cursor) => new GCounterCursor(cursor), read: readCounter },
  ["increment", "get"],
);
