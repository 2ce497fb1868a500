import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_LWW, KIND_MAP } from "./kernel/kinds.ts";
import { countChildren, freezeRecord, liveChild, liveChildren, mapAt } from "./kernel/map-view.ts";
import { writeChildRegister } from "./kernel/register.ts";
import { clearMap, removeKey } from "./kernel/removal.ts";
import type { MapStore, Store } from "./kernel/store.ts";
import { readRegister } from "./lww-register.ts";
import type { Storable, Value } from "./value.ts";

/** Reads a map of values. Keys come in no particular order. */
export interface LwwMapView<T> {
  get(key: string): T | undefined;
  has(key: string): boolean;
  readonly size: number;
  keys(): IterableIterator<string>;
  entries(): IterableIterator<[string, T]>;
}

/** Changes a map of values. */
export interface LwwMapMutator<T> extends LwwMapView<T> {
  /**
   * Writes the value of a key. Throws `TypeError`, naming the path, for what is no {@link Value}, and
   * `LIMIT_EXCEEDED`.
   */
  set(key: string, value: T): void;
  /** Removes a key: all writes seen here. Returns whether it was there. */
  delete(key: string): boolean;
  /** Removes every key seen here. */
  clear(): void;
}

class LwwMapCursor<T> implements LwwMapMutator<T> {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get size(): number {
    return countChildren(mapAt(this.#cursor), KIND_LWW);
  }

  get(key: string): T | undefined {
    return readRegister(liveChild(mapAt(this.#cursor), key, KIND_LWW)) as T | undefined;
  }

  has(key: string): boolean {
    return liveChild(mapAt(this.#cursor), key, KIND_LWW) !== undefined;
  }

  *keys(): Generator<string, undefined, undefined> {
    for (const [key] of liveChildren(mapAt(this.#cursor), KIND_LWW)) yield key;
    return undefined;
  }

  *entries(): Generator<[string, T], undefined, undefined> {
    for (const [key, store] of liveChildren(mapAt(this.#cursor), KIND_LWW)) yield [key, readRegister(store) as T];
    return undefined;
  }

  set(key: string, value: T): void {
    writeChildRegister(this.#cursor, key, KIND_LWW, value);
  }

  delete(key: string): boolean {
    return removeKey(this.#cursor, key);
  }

  clear(): void {
    clearMap(this.#cursor);
  }
}

function* readEntries(store: Store | undefined): Generator<readonly [string, unknown], void, undefined> {
  for (const [key, child] of liveChildren(store as MapStore | undefined, KIND_LWW)) yield [key, readRegister(child)];
}

/** What a map of values reads as: a frozen object without a prototype. */
export type LwwMapValue<T> = { readonly [key: string]: T };

const dynamic: NestableType<LwwMapValue<unknown>, LwwMapMutator<unknown>, LwwMapView<unknown>> = kernelType(
  "lwwmap",
  { kind: KIND_MAP, bind: (cursor) => new LwwMapCursor(cursor), read: (store) => freezeRecord(readEntries(store)) },
  ["set", "get", "has", "delete", "clear"],
);

/**
 * A map of values, the last write of each key wins: `orMap(lwwRegister<T>())` with `get` and `set` of its own. A write
 * that is concurrent with a removal of its key survives.
 */
export function lwwMap<T extends Value | Storable<T> = Value>(): NestableType<
  LwwMapValue<T>,
  LwwMapMutator<T>,
  LwwMapView<T>
> {
  return dynamic as unknown as NestableType<LwwMapValue<T>, LwwMapMutator<T>, LwwMapView<T>>;
}
