import type { Cursor } from "./kernel/cursor.ts";
import { elementKey } from "./kernel/element.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_GSET, KIND_LWW } from "./kernel/kinds.ts";
import { writeChildRegister } from "./kernel/register.ts";
import { SetCursor, type SetView, readSet } from "./kernel/set-cursor.ts";
import type { Storable, Value } from "./value.ts";

/** Changes a grow-only set. */
export interface GSetMutator<T> extends SetView<T> {
  /**
   * Adds an element; returns whether it was new. Throws `TypeError` for what is no {@link Value}, and
   * `LIMIT_EXCEEDED` past 1 024 bytes.
   */
  add(element: T): boolean;
}

class GSetCursor<T> extends SetCursor<T> implements GSetMutator<T> {
  constructor(cursor: Cursor) {
    super(cursor, KIND_LWW);
  }

  add(element: T): boolean {
    const key = elementKey(element);
    this.cursor.begin();
    if (this.register(key) !== undefined) return false;
    writeChildRegister(this.cursor, key, KIND_LWW, null);
    return true;
  }
}

const dynamic: NestableType<readonly unknown[], GSetMutator<unknown>, SetView<unknown>> = kernelType(
  "gset",
  { kind: KIND_GSET, bind: (cursor) => new GSetCursor(cursor), read: (store) => readSet(store, KIND_LWW) },
  ["add", "has"],
);

/** A set that only grows. In a map it can be removed as a whole, with the elements that the remover had seen. */
export function gSet<T extends Value | Storable<T> = Value>(): NestableType<readonly T[], GSetMutator<T>, SetView<T>> {
  return dynamic as unknown as NestableType<readonly T[], GSetMutator<T>, SetView<T>>;
}
