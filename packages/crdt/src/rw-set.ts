import type { Cursor } from "./kernel/cursor.ts";
import { elementKey } from "./kernel/element.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_DWFLAG, KIND_RWSET } from "./kernel/kinds.ts";
import { writeChildRegister } from "./kernel/register.ts";
import { SetCursor, type SetView, readSet } from "./kernel/set-cursor.ts";
import type { Storable, Value } from "./value.ts";

/** Changes a remove-wins set. */
export interface RwSetMutator<T> extends SetView<T> {
  /** Adds an element, whatever removals of it were seen. Throws as `orSet` does. */
  add(element: T): void;
  /** Removes an element, also from concurrent additions. Returns whether it was there. */
  delete(element: T): boolean;
}

class RwSetCursor<T> extends SetCursor<T> implements RwSetMutator<T> {
  constructor(cursor: Cursor) {
    super(cursor, KIND_DWFLAG);
  }

  add(element: T): void {
    writeChildRegister(this.cursor, elementKey(element), KIND_DWFLAG, true);
  }

  delete(element: T): boolean {
    const was = this.has(element);
    writeChildRegister(this.cursor, elementKey(element), KIND_DWFLAG, false);
    return was;
  }
}

const dynamic: NestableType<readonly unknown[], RwSetMutator<unknown>, SetView<unknown>> = kernelType(
  "rwset",
  { kind: KIND_RWSET, bind: (cursor) => new RwSetCursor(cursor), read: (store) => readSet(store, KIND_DWFLAG) },
  ["add", "delete", "has"],
);

/**
 * A set in which a removal wins over a concurrent addition, also of an element that the remover did not see. Each
 * removed element leaves a tombstone, which an addition that has seen it replaces.
 */
export function rwSet<T extends Value | Storable<T> = Value>(): NestableType<
  readonly T[],
  RwSetMutator<T>,
  SetView<T>
> {
  return dynamic as unknown as NestableType<readonly T[], RwSetMutator<T>, SetView<T>>;
}
