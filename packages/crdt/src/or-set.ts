import type { Cursor } from "./kernel/cursor.ts";
import { elementKey } from "./kernel/element.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_LWW, KIND_ORSET } from "./kernel/kinds.ts";
import { writeChildRegister } from "./kernel/register.ts";
import { clearMap, removeKey } from "./kernel/removal.ts";
import { SetCursor, type SetView, readSet } from "./kernel/set-cursor.ts";
import type { Storable, Value } from "./value.ts";

/** Changes an observed-remove set. */
export interface OrSetMutator<T> extends SetView<T> {
  /**
   * Adds an element: also one that is there, so that it survives a concurrent removal. Throws `TypeError` for what is
   * no {@link Value}, and `LIMIT_EXCEEDED` past 1 024 bytes.
   */
  add(element: T): void;
  /** Removes an element: all additions seen here. Returns whether it was there. */
  delete(element: T): boolean;
  /** Removes every element seen here. */
  clear(): void;
}

class OrSetCursor<T> extends SetCursor<T> implements OrSetMutator<T> {
  constructor(cursor: Cursor) {
    super(cursor, KIND_LWW);
  }

  add(element: T): void {
    writeChildRegister(this.cursor, elementKey(element), KIND_LWW, null);
  }

  delete(element: T): boolean {
    return removeKey(this.cursor, elementKey(element));
  }

  clear(): void {
    clearMap(this.cursor);
  }
}

const dynamic: NestableType<readonly unknown[], OrSetMutator<unknown>, SetView<unknown>> = kernelType(
  "orset",
  { kind: KIND_ORSET, bind: (cursor) => new OrSetCursor(cursor), read: (store) => readSet(store, KIND_LWW) },
  ["add", "delete", "clear", "has"],
);

/**
 * A set in which an addition wins over a concurrent removal. It keeps one dot for each actor and element (what others
 * call a DVVSet), and nothing of what was removed.
 *
 * Elements are values: equal ones are one element, except that objects with their keys in another order differ.
 */
export function orSet<T extends Value | Storable<T> = Value>(): NestableType<
  readonly T[],
  OrSetMutator<T>,
  SetView<T>
> {
  return dynamic as unknown as NestableType<readonly T[], OrSetMutator<T>, SetView<T>>;
}
