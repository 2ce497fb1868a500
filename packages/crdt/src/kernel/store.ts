import type { Actor } from "../actor.ts";
import type { Value } from "../value.ts";
import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, SHAPE_REGISTER, shapeOf } from "./kinds.ts";

/** Levels of maps in maps, at most. */
export const PATH_DEPTH_MAX = 32;

/** Most UTF-8 bytes of a key. */
export const KEY_BYTES_MAX = 1024;

/** No actor: what an empty register has in place of one. */
export const NO_ACTOR = -1;

/**
 * A value that could be changed from outside, because it holds a `Date` or a `Uint8Array`: kept as its bytes, and read
 * afresh each time.
 */
export class Sealed {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** What a register keeps of a value: scalars and frozen structures as they are. */
export type Stored = Value | Sealed | undefined;

/** One write to a register that no other write has causally overwritten. */
export interface RegisterDot {
  readonly actor: number;
  readonly seq: number;
  readonly time: number;
  readonly value: Stored;
}

/**
 * A register: the live write that is read, in its own fields because there is nearly always just that one, and the
 * concurrent ones in `more`. An actor has at most one live write: its next one follows it.
 */
export class RegisterStore {
  readonly kind: number;
  sibling: Store | undefined;
  actor: number;
  seq: number;
  time: number;
  value: Stored;
  more: RegisterDot[] | undefined;

  constructor(kind: number, actor: number = NO_ACTOR, seq = 0, time = 0, value?: Stored) {
    this.kind = kind;
    this.sibling = undefined;
    this.actor = actor;
    this.seq = seq;
    this.time = time;
    this.value = value;
    this.more = undefined;
  }

  get shape(): typeof SHAPE_REGISTER {
    return SHAPE_REGISTER;
  }
}

/** What one actor added to a counter since its row was last dead: a run. */
export interface CounterRow {
  readonly actor: number;
  /** Sequence number of the event that began the run. */
  start: number;
  /** The last event of the run known here. */
  last: number;
  /** All that the run added. */
  total: number;
  /** What of `total` was cancelled: all that was added up to the event `cancelled`. */
  baseline: number;
  cancelled: number;
  /** A removal that cancelled up to `cancelled`: once every replica knows it, a dead row can be dropped. */
  remover: number;
  removerSeq: number;
}

/** A counter: a row for each actor that added something. */
export class CounterStore {
  readonly kind: number;
  sibling: Store | undefined = undefined;
  rows: CounterRow[] = [];

  constructor(kind: number) {
    this.kind = kind;
  }

  get shape(): typeof SHAPE_COUNTER {
    return SHAPE_COUNTER;
  }
}

/** An entry of a log: `index` counts the entries that one event appended to it. */
export interface LogEntry extends RegisterDot {
  readonly index: number;
}

/** A log: entries ordered by time, actor, seq and index. */
export class LogStore {
  readonly kind: number;
  sibling: Store | undefined = undefined;
  entries: LogEntry[] = [];

  constructor(kind: number) {
    this.kind = kind;
  }

  get shape(): typeof SHAPE_LOG {
    return SHAPE_LOG;
  }
}

/** A map: under each key a chain of children, one of each kind. */
export class MapStore {
  readonly kind: number;
  sibling: Store | undefined = undefined;
  /** Where this map is attached, so that it can be taken off when it becomes empty. */
  parent: MapStore | undefined;
  readonly key: string;
  children: Map<string, Store> = new Map();
  /** Whether there may be children that are not alive, or several under one key: then the size must be counted. */
  irregular = false;

  constructor(kind: number, parent: MapStore | undefined, key: string) {
    this.kind = kind;
    this.parent = parent;
    this.key = key;
  }

  get shape(): typeof SHAPE_MAP {
    return SHAPE_MAP;
  }
}

/** The part of a state that holds the data. */
export type Store = MapStore | RegisterStore | CounterStore | LogStore;

/** The actors of a state, as small integers. */
export class ActorTable {
  readonly names: Actor[] = [];
  readonly #indexes = new Map<Actor, number>();
  #lastName: Actor | undefined;
  #lastIndex = 0;

  intern(actor: Actor): number {
    if (actor === this.#lastName) return this.#lastIndex;
    let index = this.#indexes.get(actor);
    if (index === undefined) {
      index = this.names.length;
      this.names.push(actor);
      this.#indexes.set(actor, index);
    }
    this.#lastName = actor;
    this.#lastIndex = index;
    return index;
  }

  /** The name of an index that `intern` gave. */
  name(index: number): Actor {
    const name = this.names[index];
    if (name === undefined) throw new Error(`no actor has the index ${index}`);
    return name;
  }
}

/** An empty store of a kind that this build knows. */
export function createStore(kind: number, parent: MapStore | undefined, key: string): Store {
  switch (shapeOf(kind)) {
    case SHAPE_MAP:
      return new MapStore(kind, parent, key);
    case SHAPE_REGISTER:
      return new RegisterStore(kind);
    case SHAPE_COUNTER:
      return new CounterStore(kind);
    case SHAPE_LOG:
      return new LogStore(kind);
    default:
      throw new Error(`unknown kind ${kind}`);
  }
}

/** Whether a reader sees something of this store. */
export function isAlive(store: Store): boolean {
  switch (store.shape) {
    case SHAPE_REGISTER:
      return store.actor !== NO_ACTOR;
    case SHAPE_COUNTER:
      return store.rows.some(isLiveRow);
    case SHAPE_LOG:
      return store.entries.length > 0;
    case SHAPE_MAP:
      if (!store.irregular) return store.children.size > 0;
      for (const child of store.children.values()) if (isChainAlive(child)) return true;
      return false;
  }
}

export function isLiveRow(row: CounterRow): boolean {
  return row.last > row.cancelled;
}

/** Whether any of the children under one key is alive. */
export function isChainAlive(first: Store): boolean {
  for (let store: Store | undefined = first; store !== undefined; store = store.sibling)
    if (isAlive(store)) return true;
  return false;
}

/** The child of `kind` in a chain. */
export function inChain(first: Store | undefined, kind: number): Store | undefined {
  let store = first;
  while (store !== undefined && store.kind !== kind) store = store.sibling;
  return store;
}

/** Puts a child under `key`, behind those of other kinds. */
export function attach(map: MapStore, key: string, store: Store): void {
  const first = map.children.get(key);
  store.sibling = undefined;
  if (first === undefined) {
    map.children.set(key, store);
  } else {
    let last = first;
    while (last.sibling !== undefined) last = last.sibling;
    last.sibling = store;
    markIrregular(map);
  }
  if (store.shape === SHAPE_MAP && store.irregular) markIrregular(map);
}

/** Notes on a map, and on all above it, that their children must be looked at one by one. */
export function markIrregular(map: MapStore): void {
  for (let at: MapStore | undefined = map; at !== undefined && !at.irregular; at = at.parent) at.irregular = true;
}

/** Takes a child off; and its map too, when nothing is left in it, and so on upwards. */
export function detach(map: MapStore, key: string, store: Store): void {
  const first = map.children.get(key);
  if (first === store) {
    if (store.sibling === undefined) map.children.delete(key);
    else map.children.set(key, store.sibling);
  } else {
    let at = first;
    while (at !== undefined && at.sibling !== store) at = at.sibling;
    if (at !== undefined) at.sibling = store.sibling;
  }
  store.sibling = undefined;
  prune(map);
}

/** Takes a map that has become empty off its parent, and so on upwards. */
export function prune(map: MapStore): void {
  const parent = map.parent;
  if (parent !== undefined && map.children.size === 0) detach(parent, map.key, map);
}
