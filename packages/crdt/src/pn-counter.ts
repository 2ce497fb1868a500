import { addToCounter, amountMax, checkInteger, readCounter } from "./kernel/counter.ts";
import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_PNCOUNTER } from "./kernel/kinds.ts";

/** Reads a counter. */
export interface PnCounterView {
  /** The sum of all increments less the sum of all decrements. */
  get(): number;
}

/** Changes a counter. */
export interface PnCounterMutator extends PnCounterView {
  /**
   * Adds `amount`, 1 by default, which may be negative; adding 0 changes nothing and makes no event. Throws `TypeError`
   * for anything but a safe integer, and `RangeError` when the sum would exceed 2^52 - 1 either way.
   */
  increment(amount?: number): void;
  /** `increment(-amount)`. */
  decrement(amount?: number): void;
}

class PnCounterCursor implements PnCounterMutator {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get(): number {
    return readCounter(this.#cursor.find());
  }

  increment(amount = 1): void {
    checkInteger(amount);
    if (Math.abs(amount) > amountMax(KIND_PNCOUNTER)) throw new RangeError(`too large for a counter: ${amount}`);
    if (amount === 0) this.#cursor.begin();
    else addToCounter(this.#cursor, amount);
  }

  decrement(amount = 1): void {
    this.increment(-amount);
  }
}

/**
 * A counter that goes up and down. Concurrent changes add up, each exactly once. In a map, removing the key cancels
 * exactly the changes that the remover had seen.
 */
export const pnCounter: NestableType<number, PnCounterMutator, PnCounterView> = kernelType(
  "pncounter",
  { kind: KIND_PNCOUNTER, bind: (cursor) => new PnCounterCursor(cursor), read: readCounter },
  ["increment", "decrement", "get"],
);
