import { boundedCounter } from "./bounded-counter.ts";
import { dwFlag, ewFlag } from "./flag.ts";
import { gCounter } from "./g-counter.ts";
import { gSet } from "./g-set.ts";
import type { Cursor } from "./kernel/cursor.ts";
import { type AnyNestableType, type NestableType, type Nesting, kernelType } from "./kernel/kernel-type.ts";
import { KIND_MAP } from "./kernel/kinds.ts";
import { freezeRecord, liveChild, liveKeys, mapAt } from "./kernel/map-view.ts";
import { clearMap, removeKey } from "./kernel/removal.ts";
import { type MapStore, type Store, isAlive } from "./kernel/store.ts";
import { lwwMap } from "./lww-map.ts";
import { lwwRegister } from "./lww-register.ts";
import { mvRegister } from "./mv-register.ts";
import { orLog } from "./or-log.ts";
import { orSet } from "./or-set.ts";
import { pnCounter } from "./pn-counter.ts";
import { rwSet } from "./rw-set.ts";
import { tree } from "./tree.ts";
import { twoPSet } from "./two-p-set.ts";
import type { AnyCrdtType } from "./type.ts";

/** Reads a map whose children's types are not declared here. */
export interface DynamicMapView {
  /** The value under a key: of the child with the lowest kind, should replicas disagree on the type. */
  get(key: string): unknown;
  has(key: string): boolean;
  keys(): IterableIterator<string>;
}

/** Changes a map whose children's types are not declared here: each access names the type. */
export interface DynamicMapMutator extends DynamicMapView {
  at<Mutator>(key: string, type: NestableType<unknown, Mutator, unknown>): Mutator;
  delete(key: string): boolean;
  clear(): void;
}

class DynamicMapCursor implements DynamicMapMutator {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get(key: string): unknown {
    return readChain(mapAt(this.#cursor)?.children.get(key));
  }

  has(key: string): boolean {
    return [...BY_KIND.keys()].some((kind) => liveChild(mapAt(this.#cursor), key, kind) !== undefined);
  }

  keys(): IterableIterator<string> {
    return liveKeys(mapAt(this.#cursor));
  }

  at<Mutator>(key: string, type: NestableType<unknown, Mutator, unknown>): Mutator {
    return type.nesting.bind(this.#cursor.child(key, type.nesting.kind));
  }

  delete(key: string): boolean {
    return removeKey(this.#cursor, key);
  }

  clear(): void {
    clearMap(this.#cursor);
  }
}

function readChain(first: Store | undefined): unknown {
  let chosen: Store | undefined;
  for (let store = first; store !== undefined; store = store.sibling) {
    if (isAlive(store) && (chosen === undefined || store.kind < chosen.kind)) chosen = store;
  }
  return chosen === undefined ? undefined : BY_KIND.get(chosen.kind)?.read(chosen);
}

function readMap(store: Store | undefined): unknown {
  const map = store as MapStore | undefined;
  return freezeRecord([...liveKeys(map)].map((key) => [key, readChain(map?.children.get(key))] as const));
}

const dynamicMap: Nesting<unknown, DynamicMapMutator> = {
  kind: KIND_MAP,
  bind: (cursor) => new DynamicMapCursor(cursor),
  read: readMap,
};

const DYNAMIC_OPERATIONS = ["get", "has", "delete", "clear"];
const dynamicOrMap: AnyNestableType = kernelType<unknown, DynamicMapMutator>("ormap", dynamicMap, DYNAMIC_OPERATIONS);
const dynamicStruct: AnyNestableType = kernelType<unknown, DynamicMapMutator>("struct", dynamicMap, DYNAMIC_OPERATIONS);

const LEAVES: readonly AnyNestableType[] = [
  gCounter,
  pnCounter,
  lwwRegister(),
  mvRegister(),
  ewFlag,
  dwFlag,
  gSet(),
  twoPSet(),
  orSet(),
  rwSet(),
  orLog(),
  tree(),
];

/** How a child is read when nothing but its kind is known. */
const BY_KIND: ReadonlyMap<number, Nesting<unknown, unknown>> = new Map(
  [...LEAVES, dynamicOrMap].map((type) => [type.nesting.kind, type.nesting as Nesting<unknown, unknown>]),
);

/**
 * Every type of this package under its name, for a node that stores and shows whatever its peers have. `ormap` and
 * `struct` are in it without a declared shape: their values are built from what is there.
 */
export const builtinTypes: readonly AnyCrdtType[] = [...LEAVES, lwwMap(), dynamicOrMap, dynamicStruct, boundedCounter];
