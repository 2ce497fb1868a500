import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_LWW, KIND_MAP } from "./kernel/kinds.ts";
import { freezeRecord, liveChild, liveKeys } from "./kernel/map-view.ts";
import { writeChildRegister } from "./kernel/register.ts";
import { clearMap, removeKey } from "./kernel/removal.ts";
import { type MapStore, type Store, isAlive } from "./kernel/store.ts";
import { readRegister } from "./lww-register.ts";
import type { Value } from "./value.ts";

/** Plain data as a tree of maps: each object is a map, everything else a value. */
export type JsonMapValue = { readonly [key: string]: Value };

/** Where something stands: the keys from the top down. */
export type JsonPath = readonly string[];

/** Reads a tree of plain data. */
export interface JsonMapView {
  /** What stands at a path: plain data for an object. */
  get(path: JsonPath): Value | undefined;
  has(path: JsonPath): boolean;
  /** All of it, as plain data. */
  toJSON(): JsonMapValue;
}

/** Changes a tree of plain data. */
export interface JsonMapMutator extends JsonMapView {
  /**
   * Puts data at a path, in place of what was seen there. Objects become maps, key by key, so that concurrent changes
   * of other keys merge; arrays and all else are values. Throws `TypeError` for what is no {@link Value}.
   */
  set(path: JsonPath, data: Value): void;
  /** Merges an object into what is there: keys that it does not name stay. */
  assign(data: JsonMapValue): void;
  /** Makes all of it equal to `data`: keys that it does not name go. Equal parts make no change. */
  fromJSON(data: JsonMapValue): void;
  /** Removes what was seen at a path; returns whether something was. */
  delete(path: JsonPath): boolean;
}

class JsonMapCursor implements JsonMapMutator {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get(path: JsonPath): Value | undefined {
    const [place, key] = this.#split(path);
    return readAt(place.find() as MapStore | undefined, key);
  }

  has(path: JsonPath): boolean {
    return this.get(path) !== undefined;
  }

  toJSON(): JsonMapValue {
    return readMap(this.#cursor.find());
  }

  set(path: JsonPath, data: Value): void {
    this.#cursor.begin();
    const [place, key] = this.#split(path);
    put(place, key, data);
  }

  assign(data: JsonMapValue): void {
    this.#cursor.begin();
    checkRecord(data);
    for (const [key, item] of Object.entries(data)) put(this.#cursor, key, item);
  }

  fromJSON(data: JsonMapValue): void {
    this.#cursor.begin();
    checkRecord(data);
    become(this.#cursor, data);
  }

  delete(path: JsonPath): boolean {
    const [place, key] = this.#split(path);
    return removeKey(place, key);
  }

  #split(path: JsonPath): [Cursor, string] {
    if (!Array.isArray(path)) throw new TypeError('a path is a list of keys, such as ["user", "name"]');
    const key: unknown = path.at(-1);
    if (typeof key !== "string") throw new TypeError("a path has at least one key, and only strings");
    return [path.slice(0, -1).reduce((cursor, step) => cursor.child(step, KIND_MAP), this.#cursor), key];
  }
}

function isRecord(data: unknown): data is JsonMapValue {
  if (typeof data !== "object" || data === null) return false;
  const prototype: unknown = Object.getPrototypeOf(data);
  return prototype === Object.prototype || prototype === null;
}

function checkRecord(data: unknown): void {
  if (!isRecord(data))
    throw new TypeError("the whole of a jsonMap is an object; what stands at a path may be any value");
}

/** Writes data under a key, where something else may stand. */
function put(place: Cursor, key: string, data: Value): void {
  const map = place.find() as MapStore | undefined;
  if (!isRecord(data)) {
    if (liveChild(map, key, KIND_MAP) !== undefined) removeKey(place, key);
    writeChildRegister(place, key, KIND_LWW, data);
    return;
  }
  if (liveChild(map, key, KIND_LWW) !== undefined || liveChild(map, key, KIND_MAP) !== undefined) removeKey(place, key);
  const inner = place.child(key, KIND_MAP);
  for (const [name, item] of Object.entries(data)) put(inner, name, item);
}

/** Makes the map at a cursor equal to `data`, with the fewest changes. */
function become(cursor: Cursor, data: JsonMapValue): void {
  const map = cursor.find() as MapStore | undefined;
  const wanted = new Map(Object.entries(data));
  if (wanted.size === 0 && map !== undefined) clearMap(cursor);
  for (const key of Array.from(liveKeys(map))) if (!wanted.has(key)) removeKey(cursor, key);
  for (const [key, item] of wanted) {
    const present = liveChild(map, key, isRecord(item) ? KIND_MAP : KIND_LWW);
    if (isRecord(item) && present !== undefined) become(cursor.child(key, KIND_MAP), item);
    else if (present === undefined || !isEqual(readRegister(present), item)) put(cursor, key, item);
  }
}

function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Date || b instanceof Date) {
    return a instanceof Date && b instanceof Date && a.getTime() === b.getTime();
  }
  if (a instanceof Uint8Array !== b instanceof Uint8Array || Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [Object.entries(a), Object.entries(b)];
  return (
    left.length === right.length &&
    left.every(([key, item], index) => key === right[index]?.[0] && isEqual(item, right[index]?.[1]))
  );
}

function readAt(map: MapStore | undefined, key: string): Value | undefined {
  const inner = liveChild(map, key, KIND_MAP);
  return inner === undefined ? readRegister(liveChild(map, key, KIND_LWW)) : readMap(inner);
}

function readMap(store: Store | undefined): JsonMapValue {
  const map = store as MapStore | undefined;
  if (map === undefined || !isAlive(map)) return freezeRecord([]);
  const entries = [...liveKeys(map)].map((key) => [key, readAt(map, key)] as const);
  return freezeRecord(entries.filter((entry): entry is readonly [string, Value] => entry[1] !== undefined));
}

/**
 * Plain data as a tree of maps, and back: `fromJSON` and `toJSON`. Each object is a map of its own, so concurrent
 * changes of different keys merge at every level; arrays and scalars are values of which the last write wins. Should
 * one replica put an object where another puts a value, the object is shown until one of them is removed.
 *
 * An empty object leaves no trace: a map without keys is not there.
 */
export const jsonMap: NestableType<JsonMapValue, JsonMapMutator, JsonMapView> = kernelType(
  "ormap",
  { kind: KIND_MAP, bind: (cursor) => new JsonMapCursor(cursor), read: readMap },
  ["set", "get", "has", "assign", "fromJSON", "toJSON", "delete"],
);
