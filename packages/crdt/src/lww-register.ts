import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_LWW } from "./kernel/kinds.ts";
import { reveal, writeRegister } from "./kernel/register.ts";
import type { RegisterStore, Store } from "./kernel/store.ts";
import type { Storable, Value } from "./value.ts";

/** Reads a register. */
export interface LwwRegisterView<T> {
  /** The value, `undefined` before the first write. */
  get(): T | undefined;
}

/** Changes a register. */
export interface LwwRegisterMutator<T> extends LwwRegisterView<T> {
  /** Writes a value. Throws `TypeError`, naming the path, for what is no {@link Value}; `LIMIT_EXCEEDED`. */
  set(value: T): void;
}

class LwwRegisterCursor<T> implements LwwRegisterMutator<T> {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get(): T | undefined {
    return readRegister(this.#cursor.find()) as T | undefined;
  }

  set(value: T): void {
    writeRegister(this.#cursor, value);
  }
}

/** The value that is read of a register. */
export function readRegister(store: Store | undefined): Value | undefined {
  return store === undefined ? undefined : reveal((store as RegisterStore).value);
}

const dynamic: NestableType<unknown, LwwRegisterMutator<unknown>, LwwRegisterView<unknown>> = kernelType(
  "lww",
  { kind: KIND_LWW, bind: (cursor) => new LwwRegisterCursor(cursor), read: readRegister },
  ["set", "get"],
);

/**
 * A register: the last write wins, by hybrid time and then by actor. A write that follows another in causal order is
 * always the later one, so overwriting what was seen never fails, whatever the clocks say.
 *
 * Concurrent writes that lose are kept until something overwrites them: were they dropped at once, a removal that saw
 * only the winner would leave nothing on one replica and the loser on another.
 */
export function lwwRegister<T extends Value | Storable<T> = Value>(): NestableType<
  T | undefined,
  LwwRegisterMutator<T>,
  LwwRegisterView<T>
> {
  return dynamic as unknown as NestableType<T | undefined, LwwRegisterMutator<T>, LwwRegisterView<T>>;
}
