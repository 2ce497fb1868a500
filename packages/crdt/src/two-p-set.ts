import type { Cursor } from "./kernel/cursor.ts";
import { elementKey } from "./kernel/element.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_DWFLAG, KIND_TWOPSET } from "./kernel/kinds.ts";
import { writeChildRegister } from "./kernel/register.ts";
import { SetCursor, type SetView, readSet } from "./kernel/set-cursor.ts";
import type { Storable, Value } from "./value.ts";

/** Changes a two-phase set. */
export interface TwoPSetMutator<T> extends SetView<T> {
  /** Adds an element, unless it is there or was removed; returns whether it is there now. Throws as `orSet` does. */
  add(element: T): boolean;
  /** Removes an element for good. Returns whether it was there; one that is not there cannot be removed. */
  delete(element: T): boolean;
}

class TwoPSetCursor<T> extends SetCursor<T> implements TwoPSetMutator<T> {
  constructor(cursor: Cursor) {
    super(cursor, KIND_DWFLAG);
  }

  add(element: T): boolean {
    const key = elementKey(element);
    this.cursor.begin();
    if (this.register(key) !== undefined) return this.has(element);
    writeChildRegister(this.cursor, key, KIND_DWFLAG, true);
    return true;
  }

  delete(element: T): boolean {
    const key = elementKey(element);
    this.cursor.begin();
    if (!this.has(element)) return false;
    writeChildRegister(this.cursor, key, KIND_DWFLAG, false);
    return true;
  }
}

const dynamic: NestableType<readonly unknown[], TwoPSetMutator<unknown>, SetView<unknown>> = kernelType(
  "twopset",
  { kind: KIND_TWOPSET, bind: (cursor) => new TwoPSetCursor(cursor), read: (store) => readSet(store, KIND_DWFLAG) },
  ["add", "delete", "has"],
);

/**
 * A set whose elements can be added once and removed once: what was removed never comes back, whoever adds it. Each
 * removed element leaves a tombstone for ever.
 */
export function twoPSet<T extends Value | Storable<T> = Value>(): NestableType<
  readonly T[],
  TwoPSetMutator<T>,
  SetView<T>
> {
  return dynamic as unknown as NestableType<readonly T[], TwoPSetMutator<T>, SetView<T>>;
}
