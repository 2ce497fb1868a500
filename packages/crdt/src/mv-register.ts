import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_MVREGISTER } from "./kernel/kinds.ts";
import { liveDots, reveal, writeRegister } from "./kernel/register.ts";
import type { RegisterStore, Store } from "./kernel/store.ts";
import type { Storable, Value } from "./value.ts";

/** Reads a register with all its concurrent values. */
export interface MvRegisterView<T> {
  /** All values that no other write has overwritten: one, none, or several that were written concurrently. */
  get(): readonly T[];
}

/** Changes such a register. */
export interface MvRegisterMutator<T> extends MvRegisterView<T> {
  /** Writes a value in place of all seen here. Throws `TypeError`, naming the path, for what is no {@link Value}. */
  set(value: T): void;
  /** Writes what `merge` makes of the values, when there are several; returns whether there were. */
  resolve(merge: (values: readonly T[]) => T): boolean;
}

class MvRegisterCursor<T> implements MvRegisterMutator<T> {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get(): readonly T[] {
    return readValues(this.#cursor.find()) as readonly T[];
  }

  set(value: T): void {
    writeRegister(this.#cursor, value);
  }

  resolve(merge: (values: readonly T[]) => T): boolean {
    const values = this.get();
    this.#cursor.begin();
    if (values.length < 2) return false;
    this.set(merge(values));
    return true;
  }
}

function readValues(store: Store | undefined): readonly unknown[] {
  if (store === undefined) return NONE;
  const dots = liveDots(store as RegisterStore);
  return Object.freeze(dots.map((dot) => reveal(dot.value)));
}

const NONE: readonly unknown[] = Object.freeze([]);

const dynamic: NestableType<readonly unknown[], MvRegisterMutator<unknown>, MvRegisterView<unknown>> = kernelType(
  "mvregister",
  { kind: KIND_MVREGISTER, bind: (cursor) => new MvRegisterCursor(cursor), read: readValues },
  ["set", "get"],
);

/** A register that shows every value written concurrently, for a program or a person to choose from. */
export function mvRegister<T extends Value | Storable<T> = Value>(): NestableType<
  readonly T[],
  MvRegisterMutator<T>,
  MvRegisterView<T>
> {
  return dynamic as unknown as NestableType<readonly T[], MvRegisterMutator<T>, MvRegisterView<T>>;
}
