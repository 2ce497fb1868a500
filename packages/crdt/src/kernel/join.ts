import { malformed } from "../codec.ts";
import type { VersionVector } from "../vector.ts";
import { findRow } from "./counter.ts";
import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, SHAPE_REGISTER } from "./kinds.ts";
import { sortEntries } from "./log.ts";
import { liveDots, setDots } from "./register.ts";
import type { KernelState } from "./state.ts";
import { OMITTED, decodeState } from "./state-codec.ts";
import {
  type ActorTable,
  type CounterRow,
  type CounterStore,
  type LogStore,
  type MapStore,
  NO_ACTOR,
  type RegisterDot,
  type RegisterStore,
  type Store,
  attach,
  createStore,
  inChain,
  isLiveRow,
  markIrregular,
} from "./store.ts";

/**
 * Joins another replica's encoded state into `state`: a dot that both have stays; one that only one side has stays
 * unless the other's vector covers it, because there it was removed. All or nothing: on `MALFORMED` nothing changed.
 */
export function joinState(
  state: KernelState,
  body: Uint8Array,
  ourVector: VersionVector,
  theirVector: VersionVector,
  touched?: Set<string>,
): void {
  const theirs = decodeState(state.root.kind, body, true);
  assertComplete(theirs.root, theirs.actors, ourVector);
  const join = new Join(state.actors, theirs.actors, ourVector, theirVector);
  if (state.root.shape === SHAPE_MAP) join.maps(state.root, theirs.root as MapStore, touched);
  else join.stores(state.root, theirs.root);
}

// A value may be left out only where we have it, or have removed it.
function assertComplete(store: Store, actors: ActorTable, ourVector: VersionVector): void {
  if (store.shape === SHAPE_MAP) {
    for (const first of store.children.values()) {
      for (let child: Store | undefined = first; child !== undefined; child = child.sibling) {
        assertComplete(child, actors, ourVector);
      }
    }
  } else if (store.shape === SHAPE_REGISTER || store.shape === SHAPE_LOG) {
    for (const dot of store.shape === SHAPE_LOG ? store.entries : liveDots(store)) {
      if (dot.value === OMITTED && !ourVector.covers(actors.name(dot.actor), dot.seq)) {
        throw malformed("a value is missing");
      }
    }
  }
}

const SEQ_LIMIT = 2 ** 31;

class Join {
  readonly #actors: ActorTable;
  /** Our index of each of their actors. */
  readonly #indexes: readonly number[];
  /** By our index: what each side knows of an actor. */
  readonly #ours: readonly number[];
  readonly #theirs: readonly number[];
  #changed = false;

  constructor(actors: ActorTable, others: ActorTable, ourVector: VersionVector, theirVector: VersionVector) {
    this.#actors = actors;
    this.#indexes = others.names.map((name) => actors.intern(name));
    this.#ours = actors.names.map((name) => ourVector.get(name));
    this.#theirs = actors.names.map((name) => theirVector.get(name));
  }

  /** Joins the children of two maps. */
  maps(ours: MapStore, theirs: MapStore | undefined, touched?: Set<string>): void {
    // A copy: a child that is attached again stands at the end.
    const keys = [...ours.children.keys()];
    for (const key of keys) {
      this.#changed = touched === undefined && this.#changed;
      this.#chain(ours, key, theirs?.children.get(key));
      if (this.#changed) touched?.add(key);
    }
    const known = new Set(keys);
    for (const [key, first] of theirs?.children ?? []) {
      if (known.has(key)) continue;
      this.#changed = touched === undefined && this.#changed;
      this.#chain(ours, key, first);
      if (this.#changed) touched?.add(key);
    }
  }

  #chain(map: MapStore, key: string, theirs: Store | undefined): void {
    const own = map.children.get(key);
    // The usual case: one kind under a key, and the same on both sides.
    if (own !== undefined && own.sibling === undefined && (theirs === undefined || isOnly(theirs, own.kind))) {
      this.stores(own, theirs);
      if (isEmpty(own)) map.children.delete(key);
      else if (hasDeadRow(own)) markIrregular(map);
      return;
    }
    this.#mixedChain(map, key, theirs);
  }

  #mixedChain(map: MapStore, key: string, theirs: Store | undefined): void {
    const kept: Store[] = [];
    for (let store = map.children.get(key); store !== undefined; store = store.sibling) {
      this.stores(store, inChain(theirs, store.kind));
      kept.push(store);
    }
    for (let store = theirs; store !== undefined; store = store.sibling) {
      const { kind } = store;
      if (kept.some((own) => own.kind === kind)) continue;
      const fresh = createStore(kind, map, key);
      this.stores(fresh, store);
      kept.push(fresh);
    }
    const remaining = kept.filter((store) => !isEmpty(store));
    map.children.delete(key);
    for (const store of remaining) {
      attach(map, key, store);
      if (hasDeadRow(store)) markIrregular(map);
    }
  }

  /** Joins `theirs`, of the same kind, into `ours`; absent means that nothing is there. */
  stores(ours: Store, theirs: Store | undefined): void {
    if (ours.shape === SHAPE_MAP) this.maps(ours, theirs as MapStore | undefined);
    else if (ours.shape === SHAPE_REGISTER) this.#registers(ours, theirs as RegisterStore | undefined);
    else if (ours.shape === SHAPE_COUNTER) this.#counters(ours, theirs as CounterStore | undefined);
    else this.#logs(ours, theirs as LogStore | undefined);
  }

  #registers(ours: RegisterStore, theirs: RegisterStore | undefined): void {
    if (theirs !== undefined && theirs.more === undefined && ours.more === undefined && theirs.actor !== NO_ACTOR) {
      // The usual case: both have the same one write.
      if (this.#indexes[theirs.actor] === ours.actor && theirs.seq === ours.seq) return;
    }
    const mine = liveDots(ours);
    const other = theirs === undefined ? [] : liveDots(theirs).map((dot) => this.#translate(dot));
    const kept: RegisterDot[] = mine.filter(
      (dot) => dot.seq > (this.#theirs[dot.actor] as number) || other.some((their) => isSame(their, dot)),
    );
    const before = kept.length;
    for (const dot of other) {
      if (dot.seq > (this.#ours[dot.actor] as number) && !mine.some((own) => isSame(own, dot))) kept.push(dot);
    }
    if (kept.length === mine.length && kept.length === before) return;
    setDots(ours, this.#actors, kept);
    this.#changed = true;
  }

  #translate(dot: RegisterDot): RegisterDot {
    const { seq, time, value } = dot;
    return { actor: this.#indexes[dot.actor] as number, seq, time, value };
  }

  #logs(ours: LogStore, theirs: LogStore | undefined): void {
    // What one event appended is there as a whole or not at all: its actor and number tell.
    const id = (actor: number, seq: number): number => actor * SEQ_LIMIT + seq;
    const present = new Set(theirs?.entries.map((entry) => id(this.#indexes[entry.actor] as number, entry.seq)));
    const kept = ours.entries.filter(
      (entry) => entry.seq > (this.#theirs[entry.actor] as number) || present.has(id(entry.actor, entry.seq)),
    );
    const before = kept.length;
    const mine = new Set(ours.entries.map((entry) => id(entry.actor, entry.seq)));
    for (const entry of theirs?.entries ?? []) {
      const actor = this.#indexes[entry.actor] as number;
      if (entry.seq > (this.#ours[actor] as number) && !mine.has(id(actor, entry.seq))) kept.push({ ...entry, actor });
    }
    if (kept.length === before && before === ours.entries.length) return;
    ours.entries = kept.length === before ? kept : sortEntries(this.#actors, kept);
    this.#changed = true;
  }

  #counters(ours: CounterStore, theirs: CounterStore | undefined): void {
    const rows = new Map<number, CounterRow>();
    for (const row of theirs?.rows ?? []) {
      const actor = this.#indexes[row.actor] as number;
      const remover = row.remover === NO_ACTOR ? NO_ACTOR : (this.#indexes[row.remover] as number);
      rows.set(actor, { ...row, actor, remover });
    }
    const kept: CounterRow[] = [];
    for (const row of ours.rows) {
      const their = rows.get(row.actor);
      if (their !== undefined) kept.push(this.#rows(row, their));
      else if (row.last > (this.#theirs[row.actor] as number)) kept.push(row);
      else this.#changed ||= isLiveRow(row);
    }
    for (const [actor, row] of rows) {
      if (findRow(ours, actor) !== undefined || row.last <= (this.#ours[actor] as number)) continue;
      kept.push(row);
      this.#changed = true;
    }
    ours.rows = kept;
  }

  #rows(ours: CounterRow, theirs: CounterRow): CounterRow {
    if (ours.start !== theirs.start) {
      // The later run began after its actor had seen all of the earlier one cancelled.
      if (ours.start > theirs.start) return ours;
      this.#changed = true;
      return theirs;
    }
    const later = theirs.last > ours.last ? theirs : ours;
    const cancels = theirs.cancelled > ours.cancelled ? theirs : ours;
    if (later === ours && cancels === ours) return ours;
    this.#changed = true;
    const { actor, start, last, total } = later;
    const { baseline, cancelled, remover, removerSeq } = cancels;
    return { actor, start, last, total, baseline, cancelled, remover, removerSeq };
  }
}

function isOnly(store: Store, kind: number): boolean {
  return store.sibling === undefined && store.kind === kind;
}

function isSame(a: RegisterDot, b: RegisterDot): boolean {
  return a.actor === b.actor && a.seq === b.seq;
}

function isEmpty(store: Store): boolean {
  if (store.shape === SHAPE_MAP) return store.children.size === 0;
  if (store.shape === SHAPE_LOG) return store.entries.length === 0;
  return store.shape === SHAPE_REGISTER ? store.actor === NO_ACTOR : store.rows.length === 0;
}

function hasDeadRow(store: Store): boolean {
  return store.shape === SHAPE_COUNTER ? !store.rows.every(isLiveRow) : store.shape === SHAPE_MAP && store.irregular;
}
