import { ACTOR_BYTES, type Actor, actorFromBytes } from "../actor.ts";
import { Reader, malformed } from "../codec.ts";
import type { Stamp } from "../type.ts";
import { readValue } from "../value.ts";
import { SEQ_MAX } from "../vector.ts";
import { amountMax, applyAdd, applyFirst, readAmount } from "./counter.ts";
import { COUNTER_ADD, COUNTER_FIRST, LOG_APPEND, OP_CHILD, OP_CLEAR, OP_DELETE, OP_SAME } from "./delta.ts";
import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, SHAPE_REGISTER, type Shape, shapeOf } from "./kinds.ts";
import { insertEntry, nextIndex } from "./log.ts";
import { applyWrite, seal } from "./register.ts";
import { type CancelledRow, type Cancels, applyRemoval } from "./removal.ts";
import type { KernelState } from "./state.ts";
import {
  type CounterStore,
  KEY_BYTES_MAX,
  type LogStore,
  type MapStore,
  PATH_DEPTH_MAX,
  RegisterStore,
  type Store,
  type Stored,
  attach,
  createStore,
  inChain,
  prune,
} from "./store.ts";

const ROW_BYTES_MIN = 4;
const NO_NUMBERS: readonly number[] = [];
const NO_CANCELS: readonly (readonly [string, readonly Cancels[]])[] = [];

/** The maps on the way to a store, from the root down. */
interface Path {
  readonly kinds: readonly number[];
  readonly keys: readonly string[];
}

const ROOT: Path = { kinds: [], keys: [] };

/** What an operation has beyond a place and a value. Actors are indexes into the delta's own table. */
interface Details {
  readonly code: number;
  readonly actors: readonly number[];
  readonly seqs: readonly number[];
  readonly amount: number;
  readonly start: number;
  readonly before: number;
  readonly cancels: readonly (readonly [string, readonly Cancels[]])[];
}

const WRITE = 0x20;

/**
 * Operations as read, in columns: an object each would cost more than applying it does. An operation without details
 * is a write that overwrites nothing of others; kind -1 stands for an operation on the root or on a map as such.
 */
class Operations {
  length = 0;
  readonly paths: Path[] = [];
  readonly keys: string[] = [];
  readonly kinds: number[] = [];
  readonly values: Stored[] = [];
  readonly details: (Details | undefined)[] = [];

  add(path: Path, key: string, kind: number, value: Stored, details: Details | undefined): void {
    const at = this.length++;
    this.paths[at] = path;
    this.keys[at] = key;
    this.kinds[at] = kind;
    this.values[at] = value;
    this.details[at] = details;
  }

  /** Lets go of what was read. */
  clear(): void {
    for (let index = 0; index < this.length; index++) {
      this.values[index] = undefined;
      this.details[index] = undefined;
    }
    this.length = 0;
  }
}

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

/** Reads a whole delta before anything is changed. */
class DeltaReader {
  readonly #bytes: Uint8Array;
  readonly #reader: Reader;
  readonly #seq: number;
  readonly #rootKind: number;
  readonly #rootShape: Shape;
  /** The actors named by the delta: entry 0 is the event's own. */
  readonly actors: Actor[];
  #lastMap: Path | undefined;

  constructor(bytes: Uint8Array, at: Stamp, root: Store) {
    this.#bytes = bytes;
    this.#reader = new Reader(bytes);
    this.#seq = at.seq;
    this.#rootKind = root.kind;
    this.#rootShape = root.shape;
    this.actors = [at.actor];
  }

  read(operations: Operations): void {
    while (this.#reader.left > 0) this.#operation(operations);
    if (operations.length === 0) throw malformed("an event without operations");
  }

  #operation(operations: Operations): void {
    if (this.#rootShape !== SHAPE_MAP) {
      this.#leaf(operations, this.#rootShape, ROOT, -1, "", this.#reader.byte());
      return;
    }
    let path = ROOT;
    let code = this.#reader.byte();
    if (code === OP_SAME) {
      if (this.#lastMap === undefined) throw malformed("no operation before this one that it could share a map with");
      path = this.#lastMap;
      code = this.#reader.byte();
    }
    while (code >= OP_CHILD) {
      const kind = code - OP_CHILD;
      const shape = shapeOf(kind);
      if (shape === undefined) throw malformed(`unknown kind ${kind}`);
      if (path.keys.length >= PATH_DEPTH_MAX) throw malformed("a path is too long");
      const key = this.#key();
      if (shape !== SHAPE_MAP) {
        this.#lastMap = path;
        this.#leaf(operations, shape, path, kind, key, this.#reader.byte());
        return;
      }
      path = { kinds: [...path.kinds, kind], keys: [...path.keys, key] };
      code = this.#reader.byte();
    }
    this.#lastMap = path;
    this.#mapOperation(operations, path, code);
  }

  #key(): string {
    return this.#reader.stringOf(this.#reader.uintMax(KEY_BYTES_MAX, "the length of a key"));
  }

  #mapOperation(operations: Operations, path: Path, code: number): void {
    if (code === OP_DELETE) {
      const key = this.#key();
      const [actors, seqs] = this.#vector(this.#reader.count(2));
      const removal = { ...PLAIN, code, actors, seqs, cancels: [[key, this.#cancels(path.keys.length)] as const] };
      operations.add(path, key, -1, undefined, removal);
      return;
    }
    if (code !== OP_CLEAR) throw malformed(`no operation of a map has the code ${code}`);
    const [actors, seqs] = this.#vector(this.#reader.count(2));
    const count = this.#reader.count(2);
    const cancels: [string, readonly Cancels[]][] = [];
    for (let index = 0; index < count; index++) cancels.push([this.#key(), this.#cancels(path.keys.length)]);
    operations.add(path, "", -1, undefined, { ...PLAIN, code, actors, seqs, cancels });
  }

  #leaf(operations: Operations, shape: Shape, path: Path, kind: number, key: string, first: number): void {
    if (shape === SHAPE_REGISTER) {
      this.#write(operations, path, kind, key, first);
      return;
    }
    if (shape === SHAPE_LOG) {
      if (first !== LOG_APPEND) throw malformed(`no operation of a log has the code ${first}`);
      operations.add(path, key, kind, this.#value(), APPEND);
      return;
    }
    const counterKind = kind < 0 ? this.#rootKind : kind;
    const amount = readAmount(this.#reader, counterKind);
    let start = this.#seq;
    let before = 0;
    if (first === COUNTER_ADD) {
      start -= this.#reader.uintMax(this.#seq - 1, "the length of a run");
      before = readAmount(this.#reader, counterKind);
      if (Math.abs(before + amount) > amountMax(counterKind)) throw malformed("the total of a run is too large");
    } else if (first !== COUNTER_FIRST) {
      throw malformed(`no operation of a counter has the code ${first}`);
    }
    const details = { code: first, actors: NO_NUMBERS, seqs: NO_NUMBERS, amount, start, before, cancels: NO_CANCELS };
    operations.add(path, key, kind, undefined, details);
  }

  #write(operations: Operations, path: Path, kind: number, key: string, first: number): void {
    let details: Details | undefined;
    if (first !== 1) {
      const [actors, seqs] = this.#vector(this.#countFrom(first));
      details = { ...PLAIN, actors, seqs };
    }
    operations.add(path, key, kind, this.#value(), details);
  }

  #value(): Stored {
    const start = this.#reader.at;
    const value = readValue(this.#reader);
    return typeof value === "object" ? seal(value, this.#bytes, start, this.#reader.at) : value;
  }

  // A count of at most 126 dots is one byte; else that byte is the first one of a longer integer.
  #countFrom(first: number): number {
    if (first === 0) throw malformed("a write without a count");
    const count = first < 128 ? first - 1 : first - 129 + 128 * this.#reader.uint();
    if (count * 2 > this.#reader.left) throw malformed(`${count} dots do not fit`);
    if (first >= 128 && count < 127) throw malformed("an integer is longer than it needs to be");
    return count;
  }

  #vector(count: number): [number[], number[]] {
    const actors: number[] = [];
    const seqs: number[] = [];
    for (let index = 0; index < count; index++) {
      actors.push(this.#actor());
      seqs.push(this.#seqOf());
    }
    return [actors, seqs];
  }

  #seqOf(): number {
    const seq = this.#reader.uintMax(SEQ_MAX, "a sequence number");
    if (seq === 0) throw malformed("sequence numbers begin at 1");
    return seq;
  }

  #actor(): number {
    const index = this.#reader.uintMax(this.actors.length, "the index of an actor");
    if (index === this.actors.length) this.actors.push(actorFromBytes(this.#reader.raw(ACTOR_BYTES)));
    return index;
  }

  #cancels(depth: number): readonly Cancels[] {
    if (depth > PATH_DEPTH_MAX) throw malformed("a path is too long");
    const count = this.#reader.count(3);
    const cancels: Cancels[] = [];
    for (let index = 0; index < count; index++) {
      const kind = this.#reader.byte() - OP_CHILD;
      const shape = shapeOf(kind);
      const rows: CancelledRow[] = [];
      const children = new Map<string, readonly Cancels[]>();
      if (shape === SHAPE_COUNTER) {
        const length = this.#reader.count(ROW_BYTES_MIN);
        for (let row = 0; row < length; row++) rows.push(this.#cancelledRow(kind));
      } else if (shape === SHAPE_MAP) {
        const length = this.#reader.count(2);
        for (let child = 0; child < length; child++) children.set(this.#key(), this.#cancels(depth + 1));
      } else {
        throw malformed(`kind ${kind} has no rows to cancel`);
      }
      cancels.push({ kind, rows, children });
    }
    return cancels;
  }

  #cancelledRow(kind: number): CancelledRow {
    const actor = this.#actor();
    const start = this.#seqOf();
    const last = start + this.#reader.uintMax(SEQ_MAX - start, "the length of a run");
    return { actor, start, last, total: readAmount(this.#reader, kind) };
  }
}

const PLAIN: Details = {
  code: WRITE,
  actors: NO_NUMBERS,
  seqs: NO_NUMBERS,
  amount: 0,
  start: 0,
  before: 0,
  cancels: NO_CANCELS,
};

const APPEND: Details = { ...PLAIN, code: 0x21 };

/** Applies the delta of one event. All or nothing: on `MALFORMED` the state is as before. */
export function applyDelta(state: KernelState, delta: Uint8Array, at: Stamp, touched?: Set<string>): void {
  const reader = new DeltaReader(delta, at, state.root);
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
function touch(root: MapStore, { length, paths, keys, details }: Operations, touched: Set<string>): void {
  for (let index = 0; index < length; index++) {
    const first = paths[index]?.keys[0];
    if (first !== undefined) touched.add(first);
    else if (details[index]?.code !== OP_CLEAR) touched.add(keys[index] as string);
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
      map.children.set(key, new RegisterStore(kind, this.#own, this.#at.seq, this.#at.time, value));
    } else {
      this.#assign(ensureChild(map, key, kind) as RegisterStore, value, details);
    }
  }

  #assign(register: RegisterStore, value: Stored, details: Details | undefined): void {
    const { seq, time } = this.#at;
    const overwritten = details === undefined ? NO_NUMBERS : mapped(details.actors, this.#actors);
    const dot = { actor: this.#own, seq, time, value };
    applyWrite(register, this.#state.actors, dot, overwritten, details?.seqs ?? NO_NUMBERS);
  }

  #count(counter: CounterStore, { code, start, before, amount }: Details): void {
    if (code === COUNTER_FIRST) applyFirst(counter, this.#own, this.#at.seq, amount);
    else applyAdd(counter, this.#own, this.#at.seq, start, before, amount);
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

function ensureChild(map: MapStore, key: string, kind: number): Store {
  const first = map.children.get(key);
  const found = inChain(first, kind);
  if (found !== undefined) return found;
  const store = createStore(kind, map, key);
  if (first === undefined) map.children.set(key, store);
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
