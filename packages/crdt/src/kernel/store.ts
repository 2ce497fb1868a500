import { type Actor, soleActor } from "../actor.ts";
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

/** When an actor wrote. Handed over as the object that has it: a time by itself would be made an object, too. */
export interface Moment {
  readonly seq: number;
  readonly time: number;
}

export const NEVER: Moment = { seq: 0, time: 0 };

/** One write to a register that no other write has causally overwritten. */
export interface RegisterDot extends Moment {
  readonly actor: number;
  readonly value: Stored;
}

/** A kind is a byte. */
const KIND_BITS = 8;
const KIND_MASK = 255;
/** A hybrid time is below 2^53. */
const TIME_LOW = 2 ** 22;

/** What stands in place of the value in the few registers that have more: other kinds under the key, concurrent writes. */
class Crowded {
  readonly value: Stored;
  readonly sibling: Store | undefined;
  readonly more: RegisterDot[] | undefined;

  constructor(value: Stored, sibling: Store | undefined, more: RegisterDot[] | undefined) {
    this.value = value;
    this.sibling = sibling;
    this.more = more;
  }
}

/**
 * A register: the live write that is read, in its own fields because there is nearly always just that one, and the
 * concurrent ones in `more`. An actor has at most one live write: its next one follows it.
 */
export class RegisterStore {
  /** Actor and kind in one small integer, and the time as two: other numbers would each take an object of their own. */
  #place: number;
  seq: number;
  #timeHigh: number;
  #timeLow: number;
  #held: Stored | Crowded;

  constructor(kind: number, actor: number = NO_ACTOR, at: Moment = NEVER, value?: Stored) {
    const { seq, time } = at;
    this.#place = ((actor + 1) << KIND_BITS) | kind;
    this.seq = seq;
    this.#timeHigh = Math.floor(time / TIME_LOW);
    this.#timeLow = (time - this.#timeHigh * TIME_LOW) | 0;
    this.#held = value;
  }

  get shape(): typeof SHAPE_REGISTER {
    return SHAPE_REGISTER;
  }

  get kind(): number {
    return this.#place & KIND_MASK;
  }

  get actor(): number {
    return (this.#place >> KIND_BITS) - 1;
  }

  get time(): number {
    return this.#timeHigh * TIME_LOW + this.#timeLow;
  }

  get value(): Stored {
    const held = this.#held;
    // Nearly all values are scalars: `instanceof` alone takes as long as the read around it.
    return typeof held === "object" && held instanceof Crowded ? held.value : held;
  }

  get sibling(): Store | undefined {
    return this.#held instanceof Crowded ? this.#held.sibling : undefined;
  }

  set sibling(store: Store | undefined) {
    this.#held = heldOf(this.value, store, this.more);
  }

  get more(): RegisterDot[] | undefined {
    return this.#held instanceof Crowded ? this.#held.more : undefined;
  }

  /** Makes one write the one that is read, and `more` the others. */
  assign(actor: number, { seq, time }: Moment, value: Stored, more: RegisterDot[] | undefined): void {
    this.#place = ((actor + 1) << KIND_BITS) | this.kind;
    this.seq = seq;
    this.#timeHigh = Math.floor(time / TIME_LOW);
    this.#timeLow = (time - this.#timeHigh * TIME_LOW) | 0;
    this.#held = heldOf(value, this.sibling, more);
  }
}

// A function, not a private method: that would cost each register a word.
function heldOf(value: Stored, sibling: Store | undefined, more: RegisterDot[] | undefined): Stored | Crowded {
  return sibling === undefined && more === undefined ? value : new Crowded(value, sibling, more);
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

const NO_KIND = -1;
const MIXED_KINDS = -2;

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
  /** The kind of all children; `NO_KIND` before the first, `MIXED_KINDS` once there have been several. */
  childKind: number = NO_KIND;

  constructor(kind: number, parent: MapStore | undefined, key: string) {
    this.kind = kind;
    this.parent = parent;
    this.key = key;
  }

  get shape(): typeof SHAPE_MAP {
    return SHAPE_MAP;
  }

  /** Puts the first child under a key. */
  put(key: string, child: Store): void {
    this.noteKind(child.kind);
    this.children.set(key, child);
  }

  /** Takes note of what kind a new child is of. */
  noteKind(kind: number): void {
    if (this.childKind !== kind) this.childKind = this.childKind === NO_KIND ? kind : MIXED_KINDS;
  }
}

/** The part of a state that holds the data. */
export type Store = MapStore | RegisterStore | CounterStore | LogStore;

const NO_NAMES: Actor[] = [];

/** Names up to which a look at each beats a table. */
const NAMES_SEARCHED_MAX = 8;

/** The actors of a state, as small integers. */
export class ActorTable {
  #names: Actor[] = NO_NAMES;
  /** Only where the names are many. */
  #indexes: Map<Actor, number> | undefined;

  get names(): readonly Actor[] {
    return this.#names;
  }

  intern(actor: Actor): number {
    if (this.#names[0] === actor) return 0;
    if (this.#names.length > NAMES_SEARCHED_MAX) this.#indexes ??= new Map(this.#names.map((name, at) => [name, at]));
    const known = this.#indexes === undefined ? this.#names.indexOf(actor) : (this.#indexes.get(actor) ?? -1);
    if (known >= 0) return known;
    const index = this.#names.length;
    // Of exactly that length: an array that is spread or pushed to takes room for sixteen more.
    if (index === 0) this.#names = soleActor(actor);
    else if (index < NAMES_SEARCHED_MAX) this.#names = this.#names.concat([actor]);
    else this.#names.push(actor);
    this.#indexes?.set(actor, index);
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
    map.put(key, store);
  } else {
    map.noteKind(store.kind);
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
