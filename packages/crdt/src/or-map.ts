import type { Cursor } from "./kernel/cursor.ts";
import {
  type AnyNestableType,
  type NestableType,
  type NestedMutator,
  type Nesting,
  checkNestable,
  kernelType,
} from "./kernel/kernel-type.ts";
import { KIND_MAP } from "./kernel/kinds.ts";
import { countChildren, freezeRecord, liveChild, liveChildren, mapAt } from "./kernel/map-view.ts";
import { clearMap, removeKey } from "./kernel/removal.ts";
import type { MapStore, Store } from "./kernel/store.ts";
import type { ValueOf } from "./type.ts";

/** Reads an observed-remove map. Keys come in no particular order. */
export interface OrMapView<ChildValue> {
  /** The child's value, `undefined` when the key is absent. */
  get(key: string): ChildValue | undefined;
  has(key: string): boolean;
  readonly size: number;
  keys(): IterableIterator<string>;
  entries(): IterableIterator<[string, ChildValue]>;
}

/** Changes an observed-remove map. */
export interface OrMapMutator<ChildValue, ChildMutator> extends OrMapView<ChildValue> {
  /** The child under a key; the key comes into being with the first write to it. */
  at(key: string): ChildMutator;
  /** Removes all that was seen under a key, whatever its type. Returns whether something was. */
  delete(key: string): boolean;
  /** Removes all that was seen under every key. */
  clear(): void;
}

class OrMapCursor<ChildValue, ChildMutator> implements OrMapMutator<ChildValue, ChildMutator> {
  readonly #cursor: Cursor;
  readonly #nesting: Nesting<ChildValue, ChildMutator>;

  constructor(cursor: Cursor, nesting: Nesting<ChildValue, ChildMutator>) {
    this.#cursor = cursor;
    this.#nesting = nesting;
  }

  get size(): number {
    return countChildren(mapAt(this.#cursor), this.#nesting.kind);
  }

  at(key: string): ChildMutator {
    return this.#nesting.bind(this.#cursor.child(key, this.#nesting.kind));
  }

  get(key: string): ChildValue | undefined {
    const store = liveChild(mapAt(this.#cursor), key, this.#nesting.kind);
    return store === undefined ? undefined : this.#nesting.read(store);
  }

  has(key: string): boolean {
    return liveChild(mapAt(this.#cursor), key, this.#nesting.kind) !== undefined;
  }

  *keys(): Generator<string, undefined, undefined> {
    for (const [key] of liveChildren(mapAt(this.#cursor), this.#nesting.kind)) yield key;
    return undefined;
  }

  *entries(): Generator<[string, ChildValue], undefined, undefined> {
    const { kind } = this.#nesting;
    for (const [key, store] of liveChildren(mapAt(this.#cursor), kind)) yield [key, this.#nesting.read(store)];
    return undefined;
  }

  delete(key: string): boolean {
    return removeKey(this.#cursor, key);
  }

  clear(): void {
    clearMap(this.#cursor);
  }
}

/** What a map reads as: a frozen object without a prototype. */
export type OrMapValue<ChildValue> = { readonly [key: string]: ChildValue };

function* readEntries<ChildValue>(
  nesting: Nesting<ChildValue, unknown>,
  store: Store | undefined,
): Generator<readonly [string, ChildValue], void, undefined> {
  for (const [key, child] of liveChildren(store as MapStore | undefined, nesting.kind)) {
    yield [key, nesting.read(child)];
  }
}

/**
 * A map whose values are CRDTs of type `child`. A key is there as long as something under it is alive. Removing a key
 * cancels exactly what the remover had seen under it: a concurrent change survives, and the key with it.
 *
 * @param child throws `TypeError` for what is no type, or one that does not nest
 */
export function orMap<Child extends AnyNestableType>(
  child: Child,
): NestableType<
  OrMapValue<ValueOf<Child>>,
  OrMapMutator<ValueOf<Child>, NestedMutator<Child>>,
  OrMapView<ValueOf<Child>>
> {
  checkNestable(child, "what orMap holds");
  const nesting = child.nesting as Nesting<ValueOf<Child>, NestedMutator<Child>>;
  const type = kernelType<
    OrMapValue<ValueOf<Child>>,
    OrMapMutator<ValueOf<Child>, NestedMutator<Child>>,
    OrMapView<ValueOf<Child>>
  >(
    "ormap",
    {
      kind: KIND_MAP,
      bind: (cursor) => new OrMapCursor(cursor, nesting),
      read: (store) => freezeRecord(readEntries(nesting, store)),
    },
    ["get", "has", "delete", "clear"],
  );
  return { ...type, parts: { child } };
}
