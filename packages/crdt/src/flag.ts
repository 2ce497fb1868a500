import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_DWFLAG, KIND_EWFLAG } from "./kernel/kinds.ts";
import { isAnyTrue, isEveryTrue, writeRegister } from "./kernel/register.ts";
import type { RegisterStore, Store } from "./kernel/store.ts";

/** Reads a flag. */
export interface FlagView {
  /** `false` before the first write. */
  get(): boolean;
}

/** Changes a flag. */
export interface FlagMutator extends FlagView {
  enable(): void;
  disable(): void;
}

class FlagCursor implements FlagMutator {
  readonly #cursor: Cursor;
  readonly #read: (store: Store | undefined) => boolean;

  constructor(cursor: Cursor, read: (store: Store | undefined) => boolean) {
    this.#cursor = cursor;
    this.#read = read;
  }

  get(): boolean {
    return this.#read(this.#cursor.find());
  }

  enable(): void {
    writeRegister(this.#cursor, true);
  }

  disable(): void {
    writeRegister(this.#cursor, false);
  }
}

function flag(
  name: string,
  kind: number,
  isEnabled: (register: RegisterStore) => boolean,
): NestableType<boolean, FlagMutator, FlagView> {
  const read = (store: Store | undefined): boolean => store !== undefined && isEnabled(store as RegisterStore);
  return kernelType<boolean, FlagMutator, FlagView>(
    name,
    { kind, bind: (cursor) => new FlagCursor(cursor, read), read },
    ["enable", "disable", "get"],
  );
}

/** A flag in which enabling wins over concurrent disabling. */
export const ewFlag: NestableType<boolean, FlagMutator, FlagView> = flag("ewflag", KIND_EWFLAG, isAnyTrue);

/** A flag in which disabling wins over concurrent enabling. */
export const dwFlag: NestableType<boolean, FlagMutator, FlagView> = flag("dwflag", KIND_DWFLAG, isEveryTrue);
