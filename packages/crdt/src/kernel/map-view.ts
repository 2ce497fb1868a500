import type { Cursor } from "./cursor.ts";
import { type MapStore, type Store, inChain, isAlive, isChainAlive } from "./store.ts";

/** The child of `kind` under `key`, when it is alive. */
export function liveChild(map: MapStore | undefined, key: string, kind: number): Store | undefined {
  const store = inChain(map?.children.get(key), kind);
  return store !== undefined && isAlive(store) ? store : undefined;
}

/** The live children of `kind`, with their keys, in no particular order. */
export function* liveChildren(map: MapStore | undefined, kind: number): Generator<[string, Store], void, undefined> {
  if (map === undefined) return;
  for (const [key, first] of map.children) {
    const store = inChain(first, kind);
    if (store !== undefined && isAlive(store)) yield [key, store];
  }
}

/** How many live children of `kind` a map has: counted only where there may be others, or some that are not alive. */
export function countChildren(map: MapStore | undefined, kind: number): number {
  if (map === undefined) return 0;
  if (!map.irregular && map.childKind === kind) return map.children.size;
  let count = 0;
  for (const _ of liveChildren(map, kind)) count++;
  return count;
}

/** The live keys of a map, whatever stands there. */
export function* liveKeys(map: MapStore | undefined): Generator<string, void, undefined> {
  if (map === undefined) return;
  for (const [key, first] of map.children) if (isChainAlive(first)) yield key;
}

/** The map at a cursor. */
export function mapAt(cursor: Cursor): MapStore | undefined {
  return cursor.find() as MapStore | undefined;
}

/** A frozen object without a prototype: `__proto__` is a key like any other, and JSON works. */
export function freezeRecord<Item>(entries: Iterable<readonly [string, Item]>): { readonly [key: string]: Item } {
  const record: Record<string, Item> = Object.create(null) as Record<string, Item>;
  for (const [key, item] of entries) record[key] = item;
  return Object.freeze(record);
}
