import type { Value } from "../value.ts";
import type { Cursor } from "./cursor.ts";
import { elementKey, showElement } from "./element.ts";
import { KIND_DWFLAG } from "./kinds.ts";
import { liveChildren, mapAt } from "./map-view.ts";
import { isEveryTrue } from "./register.ts";
import { type MapStore, NO_ACTOR, type RegisterStore, type Store, inChain } from "./store.ts";

/** Reads a set. Elements come in no particular order. */
export interface SetView<T> {
  has(element: T): boolean;
  readonly size: number;
  values(): IterableIterator<T>;
}

/** What every set reads: a map whose registers say which elements are in. */
export class SetCursor<T> implements SetView<T> {
  protected readonly cursor: Cursor;
  readonly #child: number;

  constructor(cursor: Cursor, child: number) {
    this.cursor = cursor;
    this.#child = child;
  }

  get size(): number {
    let count = 0;
    for (const _ of members(mapAt(this.cursor), this.#child)) count++;
    return count;
  }

  has(element: T): boolean {
    return isMember(this.register(elementKey(element)), this.#child);
  }

  *values(): Generator<T, undefined, undefined> {
    for (const element of members(mapAt(this.cursor), this.#child)) yield element as T;
    return undefined;
  }

  /** The register of an element, when it has a live write. */
  protected register(key: string): RegisterStore | undefined {
    const store = inChain(mapAt(this.cursor)?.children.get(key), this.#child) as RegisterStore | undefined;
    return store === undefined || store.actor === NO_ACTOR ? undefined : store;
  }
}

function isMember(register: RegisterStore | undefined, child: number): boolean {
  if (register === undefined) return false;
  return child !== KIND_DWFLAG || isEveryTrue(register);
}

function* members(map: MapStore | undefined, child: number): Generator<Value, void, undefined> {
  for (const [key, store] of liveChildren(map, child)) {
    if (isMember(store as RegisterStore, child)) yield showElement(key);
  }
}

/** The elements of a set, frozen: in the order of their keys, the same on every replica. */
export function readSet(store: Store | undefined, child: number): readonly Value[] {
  const map = store as MapStore | undefined;
  const keys = [...liveChildren(map, child)].filter(([, register]) => isMember(register as RegisterStore, child));
  return Object.freeze(
    keys
      .map(([key]) => key)
      .sort()
      .map(showElement),
  );
}
