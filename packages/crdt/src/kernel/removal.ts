import type { Writer } from "../codec.ts";
import type { Cursor } from "./cursor.ts";
import { writeKey } from "./cursor.ts";
import { cancelRow, findRow, writeAmount } from "./counter.ts";
import { OP_CHILD, OP_CLEAR, OP_DELETE } from "./delta.ts";
import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, SHAPE_REGISTER } from "./kinds.ts";
import { liveDots, setDots } from "./register.ts";
import {
  type ActorTable,
  type CounterRow,
  CounterStore,
  MapStore,
  NO_ACTOR,
  type Store,
  isChainAlive,
  isLiveRow,
  markIrregular,
  prune,
} from "./store.ts";

/** What a removal cancels of the runs of counters, by kind, in the subtree under one key. */
export interface Cancels {
  readonly kind: number;
  /** Of a counter. */
  readonly rows: readonly CancelledRow[];
  /** Of a map. */
  readonly children: ReadonlyMap<string, readonly Cancels[]>;
}

/** The part of an actor's run that a removal observed. */
export interface CancelledRow {
  readonly actor: number;
  readonly start: number;
  readonly last: number;
  readonly total: number;
}

/** Who removes: the dot of the removal. */
export interface Remover {
  readonly actor: number;
  readonly seq: number;
}

/** What a removal observed: for each actor its highest live dot, and the rows of counters. */
export interface Observed {
  readonly vector: ReadonlyMap<number, number>;
  readonly cancels: readonly Cancels[];
}

const NOTHING: readonly Cancels[] = [];

/** Adds the live dots under one key to `vector`; returns whether there is a live row of a counter as well. */
function observe(first: Store | undefined, vector: Map<number, number>): boolean {
  let rows = false;
  for (let store = first; store !== undefined; store = store.sibling) {
    if (store.shape === SHAPE_REGISTER) {
      if (store.actor !== NO_ACTOR) raise(vector, store.actor, store.seq);
      for (const dot of store.more ?? []) raise(vector, dot.actor, dot.seq);
    } else if (store.shape === SHAPE_COUNTER) {
      if (store.rows.some(isLiveRow)) rows = true;
    } else if (store.shape === SHAPE_LOG) {
      for (const entry of store.entries) raise(vector, entry.actor, entry.seq);
    } else {
      for (const child of store.children.values()) if (observe(child, vector)) rows = true;
    }
  }
  return rows;
}

function raise(vector: Map<number, number>, actor: number, seq: number): void {
  if ((vector.get(actor) ?? 0) < seq) vector.set(actor, seq);
}

/** The rows of counters that a removal of what is under one key cancels. */
function observeRows(first: Store | undefined): readonly Cancels[] {
  const found: Cancels[] = [];
  for (let store = first; store !== undefined; store = store.sibling) {
    if (store.shape === SHAPE_COUNTER) {
      const rows = store.rows.filter(isLiveRow);
      if (rows.length > 0) found.push({ kind: store.kind, rows, children: new Map() });
    } else if (store.shape === SHAPE_MAP) {
      const children = new Map<string, readonly Cancels[]>();
      for (const [key, child] of store.children) {
        const inner = observeRows(child);
        if (inner.length > 0) children.set(key, inner);
      }
      if (children.size > 0) found.push({ kind: store.kind, rows: [], children });
    }
  }
  return found;
}

function writeVector({ state, open }: Cursor, delta: Writer, vector: ReadonlyMap<number, number>, own: number): void {
  delta.uint(vector.size);
  for (const [actor, seq] of vector) {
    open.actors.write(delta, state.actors, actor, own);
    delta.uint(seq);
  }
}

function writeCancels(cursor: Cursor, delta: Writer, cancels: readonly Cancels[], own: number): void {
  delta.uint(cancels.length);
  for (const { kind, rows, children } of cancels) {
    delta.byte(OP_CHILD + kind);
    if (children.size > 0) {
      delta.uint(children.size);
      for (const [key, inner] of children) {
        writeKey(delta, key);
        writeCancels(cursor, delta, inner, own);
      }
      continue;
    }
    delta.uint(rows.length);
    for (const row of rows) {
      cursor.open.actors.write(delta, cursor.state.actors, row.actor, own);
      delta.uint(row.start);
      delta.uint(row.last - row.start);
      writeAmount(delta, kind, row.total);
    }
  }
}

/** Removes what is alive under `key` of the map at `cursor`; returns whether something was. */
export function removeKey(cursor: Cursor, key: string): boolean {
  if (typeof key !== "string") throw new TypeError(`a key is a string, not ${typeof key}`);
  const transaction = cursor.begin();
  const { delta } = transaction;
  const { state } = cursor;
  const map = cursor.find() as MapStore | undefined;
  const first = map?.children.get(key);
  if (map === undefined || first === undefined || !isChainAlive(first)) return false;
  const own = state.own(transaction);
  const vector = new Map<number, number>();
  const cancels = observe(first, vector) ? observeRows(first) : NOTHING;
  cursor.writeMapPath(delta);
  delta.byte(OP_DELETE);
  writeKey(delta, key);
  writeVector(cursor, delta, vector, own);
  writeCancels(cursor, delta, cancels, own);
  const { children } = map;
  transaction.onRollback(() => reattach(map, key, first));
  const remains = tombstones(first, map, { actor: own, seq: transaction.seq });
  if (remains === undefined) children.delete(key);
  else children.set(key, remains);
  if (remains !== undefined) markIrregular(map);
  prune(map);
  cursor.open.endOperation(delta, map);
  cursor.child(key, 0).touch(transaction);
  return true;
}

/** Removes all that is alive in the map at `cursor`; returns whether something was. */
export function clearMap(cursor: Cursor): boolean {
  const transaction = cursor.begin();
  const { delta } = transaction;
  const { state } = cursor;
  const map = cursor.find() as MapStore | undefined;
  if (map === undefined) return false;
  const own = state.own(transaction);
  const vector = new Map<number, number>();
  const cancels: [string, readonly Cancels[]][] = [];
  for (const [key, first] of map.children) {
    if (observe(first, vector)) cancels.push([key, observeRows(first)]);
    if (transaction.touched !== undefined && isChainAlive(first)) cursor.child(key, 0).touch(transaction);
  }
  if (vector.size === 0 && cancels.length === 0) return false;
  cursor.writeMapPath(delta);
  delta.byte(OP_CLEAR);
  writeVector(cursor, delta, vector, own);
  delta.uint(cancels.length);
  for (const [key, inner] of cancels) {
    writeKey(delta, key);
    writeCancels(cursor, delta, inner, own);
  }
  const before = map.children;
  transaction.onRollback(() => {
    map.children = before;
    if (before.size > 0) reattachMap(map);
  });
  map.children = new Map();
  for (const [key, first] of before) {
    const remains = tombstones(first, map, { actor: own, seq: transaction.seq });
    if (remains !== undefined) map.children.set(key, remains);
  }
  if (map.children.size > 0) markIrregular(map);
  prune(map);
  cursor.open.endOperation(delta, map);
  return true;
}

/** Puts a chain back under its key, and its map back where it was taken off because it had become empty. */
function reattach(map: MapStore, key: string, first: Store): void {
  map.children.set(key, first);
  reattachMap(map);
}

function reattachMap(map: MapStore): void {
  const { parent } = map;
  if (parent === undefined) return;
  const first = parent.children.get(map.key);
  for (let store = first; store !== undefined; store = store.sibling) if (store === map) return;
  map.sibling = first;
  reattach(parent, map.key, map);
}

/**
 * What remains of a chain after a removal that has seen all of it: the cancelled rows of counters, until they can be
 * collected. A copy: the chain itself stays as it was, for a rollback.
 */
function tombstones(first: Store, parent: MapStore, remover: Remover): Store | undefined {
  let remains: Store | undefined;
  for (let store: Store | undefined = first; store !== undefined; store = store.sibling) {
    const copy = tombstone(store, parent, remover);
    if (copy === undefined) continue;
    copy.sibling = remains;
    remains = copy;
  }
  return remains;
}

function tombstone(store: Store, parent: MapStore, remover: Remover): Store | undefined {
  if (store.shape === SHAPE_REGISTER || store.shape === SHAPE_LOG) return undefined;
  if (store.shape === SHAPE_COUNTER) {
    if (store.rows.length === 0) return undefined;
    const copy = new CounterStore(store.kind);
    copy.rows = store.rows.map((row) => (isLiveRow(row) ? cancelled(row, remover) : row));
    return copy;
  }
  const copy = new MapStore(store.kind, parent, store.key);
  for (const [key, child] of store.children) {
    const remains = tombstones(child, copy, remover);
    if (remains !== undefined) copy.put(key, remains);
  }
  copy.irregular = true;
  return copy.children.size === 0 ? undefined : copy;
}

function cancelled(row: CounterRow, remover: Remover): CounterRow {
  return { ...row, baseline: row.total, cancelled: row.last, remover: remover.actor, removerSeq: remover.seq };
}

/** Removes from the children under `key` what a remote removal observed. */
export function applyRemoval(
  actors: ActorTable,
  map: MapStore,
  key: string,
  observed: Observed,
  remover: Remover,
): void {
  const first = map.children.get(key);
  if (first === undefined) return;
  let remains: Store | undefined;
  let dead = false;
  for (let store: Store | undefined = first; store !== undefined;) {
    const next: Store | undefined = store.sibling;
    const cancels = observed.cancels.find((entry) => entry.kind === store?.kind);
    if (applyToStore(actors, store, observed.vector, cancels, remover)) {
      store.sibling = remains;
      remains = store;
      dead ||= store.shape === SHAPE_COUNTER;
    } else {
      store.sibling = undefined;
    }
    store = next;
  }
  if (remains === undefined) map.children.delete(key);
  else if (remains !== first) map.children.set(key, remains);
  if (dead) markIrregular(map);
}

/** Returns whether something is left of the store: alive, or tombstones. */
function applyToStore(
  actors: ActorTable,
  store: Store,
  vector: ReadonlyMap<number, number>,
  cancels: Cancels | undefined,
  remover: Remover,
): boolean {
  if (store.shape === SHAPE_REGISTER) {
    const dots = liveDots(store);
    const survivors = dots.filter((dot) => dot.seq > (vector.get(dot.actor) ?? 0));
    if (survivors.length < dots.length) setDots(store, actors, survivors);
    return survivors.length > 0;
  }
  if (store.shape === SHAPE_COUNTER) {
    for (const { actor, start, last, total } of cancels?.rows ?? []) {
      const row = findRow(store, actor);
      if (row !== undefined) cancelRow(row, start, last, total, remover.actor, remover.seq);
    }
    return store.rows.length > 0;
  }
  if (store.shape === SHAPE_LOG) {
    store.entries = store.entries.filter((entry) => entry.seq > (vector.get(entry.actor) ?? 0));
    return store.entries.length > 0;
  }
  for (const key of store.children.keys()) {
    applyRemoval(actors, store, key, { vector, cancels: cancels?.children.get(key) ?? NOTHING }, remover);
  }
  return store.children.size > 0;
}
