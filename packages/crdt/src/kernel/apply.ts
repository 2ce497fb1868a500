import { Reader } from "../codec.ts";
import type { Stamp } from "../type.ts";
import { applyIncrement } from "./counter.ts";
import { OP_CLEAR, OP_DELETE } from "./delta.ts";
import { DeltaReader, type Details, NO_NUMBERS, Operations, PLAIN, type Path, WRITE } from "./delta-reader.ts";
import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, SHAPE_REGISTER } from "./kinds.ts";
import { insertEntry, nextIndex } from "./log.ts";
import { applyWrite } from "./register.ts";
import { type Cancels, applyRemoval } from "./removal.ts";
import type { KernelState } from "./state.ts";
import {
  type CounterStore,
  type LogStore,
  type MapStore,
  RegisterStore,
  type Store,
  type Stored,
  attach,
  createStore,
  inChain,
  prune,
} from "./store.ts";

const KEPT_OPERATIONS_MAX = 256;

// Most events are small: the columns of one are kept for the next.
let spare: Operations | undefined;

function takeOperations(): Operations {
  const taken = spare ?? new Operations();
  spare = undefined;
  return taken;
}

function giveBack(operations: Operations): void {
  if (operations.keys.length > KEPT_OPERATIONS_MAX) return;
  operations.clear();
  spare = operations;
}

/** Applies the delta of one event. All or nothing: on `MALFORMED` the state is as before. */
export function applyDelta(state: KernelState, delta: Uint8Array, at: Stamp, touched?: Set<string>): void {
  applyOperations(state, new Reader(delta), at, touched);
}

/** Applies an event whose delta is what is left in `source`; as `applyDelta`. */
export function applyOperations(state: KernelState, source: Reader, at: Stamp, touched?: Set<string>): void {
  const reader = new DeltaReader(source, at, state.root);
  const operations = takeOperations();
  try {
    reader.read(operations);
    const actors = reader.actors.map((actor) => state.actors.intern(actor));
    if (touched !== undefined && state.root.shape === SHAPE_MAP) touch(state.root, operations, touched);
    new Applying(state, operations, at, actors).run();
  } finally {
    giveBack(operations);
  }
}

// Before anything is applied: a key that an event both makes and removes is no change for a watcher anyway.
function touch(root: MapStore, { length, paths, keys, kinds, details }: Operations, touched: Set<string>): void {
  for (let index = 0; index < length; index++) {
    const first = paths[index]?.keys[0];
    if (first !== undefined) touched.add(first);
    else if ((kinds[index] as number) >= 0 || details[index]?.code !== OP_CLEAR) touched.add(keys[index] as string);
    else for (const present of root.children.keys()) touched.add(present);
  }
}

class Applying {
  readonly #state: KernelState;
  readonly #operations: Operations;
  readonly #at: Stamp;
  /** The state's index of each actor that the delta names: the event's own first. */
  readonly #actors: readonly number[];
  readonly #own: number;
  #lastPath: Path | undefined;
  #lastMap: MapStore | undefined;

  constructor(state: KernelState, operations: Operations, at: Stamp, actors: readonly number[]) {
    this.#state = state;
    this.#operations = operations;
    this.#at = at;
    this.#actors = actors;
    this.#own = actors[0] as number;
  }

  run(): void {
    const { length, paths, keys, kinds, values, details } = this.#operations;
    for (let index = 0; index < length; index++) {
      const path = paths[index] as Path;
      const key = keys[index] as string;
      const kind = kinds[index] as number;
      const detail = details[index];
      if (kind < 0) this.#atRoot(path, key, values[index], detail ?? PLAIN);
      else if (detail === undefined || detail.code === WRITE) this.#write(path, key, kind, values[index], detail);
      else this.#toChild(ensureChild(this.#map(path), key, kind), values[index], detail);
    }
  }

  #map(path: Path): MapStore {
    if (path === this.#lastPath && this.#lastMap !== undefined) return this.#lastMap;
    const map = ensureMap(this.#state.root as MapStore, path);
    this.#lastPath = path;
    this.#lastMap = map;
    return map;
  }

  #atRoot(path: Path, key: string, value: Stored, details: Details): void {
    const { root } = this.#state;
    if (root.shape === SHAPE_MAP) this.#remove(path, key, details);
    else this.#toChild(root, value, details);
  }

  #toChild(store: Store, value: Stored, details: Details): void {
    if (store.shape === SHAPE_REGISTER) this.#assign(store, value, details);
    else if (store.shape === SHAPE_COUNTER) this.#count(store, details);
    else if (store.shape === SHAPE_LOG) this.#append(store, value);
  }

  #append(log: LogStore, value: Stored): void {
    const { actors } = this.#state;
    const { seq, time } = this.#at;
    const index = nextIndex(log, actors, this.#own, seq, time);
    insertEntry(log, actors, { actor: this.#own, seq, time, index, value });
  }

  #write(path: Path, key: string, kind: number, value: Stored, details: Details | undefined): void {
    const map = this.#map(path);
    const first = map.children.get(key);
    if (first === undefined) {
      map.put(key, new RegisterStore(kind, this.#own, this.#at, value));
    } else {
      this.#assign(ensureChild(map, key, kind, first) as RegisterStore, value, details);
    }
  }

  #assign(register: RegisterStore, value: Stored, details: Details | undefined): void {
    const { seq, time } = this.#at;
    const overwritten = details === undefined ? NO_NUMBERS : mapped(details.actors, this.#actors);
    const dot = { actor: this.#own, seq, time, value };
    applyWrite(register, this.#state.actors, dot, overwritten, details?.seqs ?? NO_NUMBERS);
  }

  #count(counter: CounterStore, increment: Details): void {
    applyIncrement(counter, this.#own, this.#at.seq, increment);
  }

  #remove(path: Path, key: string, details: Details): void {
    this.#lastMap = undefined;
    const map = findMap(this.#state.root as MapStore, path);
    if (map === undefined) return;
    const vector = new Map<number, number>();
    for (const [index, seq] of details.seqs.entries()) {
      vector.set(this.#actors[details.actors[index] as number] as number, seq);
    }
    const remover = { actor: this.#own, seq: this.#at.seq };
    const cancels = new Map(details.cancels.map(([name, inner]) => [name, translate(inner, this.#actors)]));
    const keys = details.code === OP_DELETE ? [key] : [...map.children.keys()];
    for (const name of keys) {
      applyRemoval(this.#state.actors, map, name, { vector, cancels: cancels.get(name) ?? [] }, remover);
    }
    prune(map);
  }
}

function mapped(indexes: readonly number[], actors: readonly number[]): readonly number[] {
  return indexes.length === 0 ? indexes : indexes.map((index) => actors[index] as number);
}

function ensureMap(root: MapStore, path: Path): MapStore {
  let map = root;
  for (let level = 0; level < path.keys.length; level++) {
    map = ensureChild(map, path.keys[level] as string, path.kinds[level] as number) as MapStore;
  }
  return map;
}

/** The child of `kind` under `key`, made if need be; `first` of those there, if it is known. */
export function ensureChild(
  map: MapStore,
  key: string,
  kind: number,
  first: Store | undefined = map.children.get(key),
): Store {
  const found = inChain(first, kind);
  if (found !== undefined) return found;
  const store = createStore(kind, map, key);
  if (first === undefined) map.put(key, store);
  else attach(map, key, store);
  return store;
}

function findMap(root: MapStore, path: Path): MapStore | undefined {
  let map: MapStore | undefined = root;
  for (let level = 0; level < path.keys.length && map !== undefined; level++) {
    map = inChain(map.children.get(path.keys[level] as string), path.kinds[level] as number) as MapStore | undefined;
  }
  return map;
}

/** The same cancellations, with the state's indexes of actors in place of the delta's. */
function translate(cancels: readonly Cancels[], actors: readonly number[]): readonly Cancels[] {
  return cancels.map(({ kind, rows, children }) => ({
    kind,
    rows: rows.map((row) => ({ ...row, actor: actors[row.actor] as number })),
    children: new Map([...children].map(([key, inner]) => [key, translate(inner, actors)])),
  }));
}
