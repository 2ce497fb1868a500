import { ACTOR_BYTES, type Actor, actorFromBytes } from "../actor.ts";
import { Reader, malformed } from "../codec.ts";
import type { Stamp } from "../type.ts";
import { readValue } from "../value.ts";
import { SEQ_MAX } from "../vector.ts";
import { applyAdd, applyFirst } from "./counter.ts";
import { COUNTER_ADD, COUNTER_FIRST, OP_CHILD, OP_CLEAR, OP_DELETE, OP_SAME } from "./delta.ts";
import { SHAPE_COUNTER, SHAPE_MAP, SHAPE_REGISTER, type Shape, shapeOf } from "./kinds.ts";
import { applyWrite, seal } from "./register.ts";
import { type CancelledRow, type Cancels, applyRemoval } from "./removal.ts";
import type { KernelState } from "./state.ts";
import {
  type CounterStore,
  KEY_BYTES_MAX,
  type MapStore,
  PATH_DEPTH_MAX,
  type RegisterStore,
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

/** An operation as read. Actors are indexes into the delta's own table until it is applied. */
interface Operation {
  readonly path: Path;
  readonly code: number;
  /** Of the child operated on; -1 for an operation on the root itself or on a map. */
  readonly kind: number;
  readonly key: string;
  readonly actors: readonly number[];
  readonly seqs: readonly number[];
  readonly value: Stored;
  readonly amount: number;
  readonly start: number;
  readonly before: number;
  readonly cancels: readonly (readonly [string, readonly Cancels[]])[];
}

const WRITE = 0x20;

/** Reads a whole delta before anything is changed. */
class DeltaReader {
  readonly #bytes: Uint8Array;
  readonly #reader: Reader;
  readonly #seq: number;
  readonly #rootShape: Shape;
  /** The actors named by the delta: entry 0 is the event's own. */
  readonly actors: Actor[];
  #lastMap: Path | undefined;

  constructor(bytes: Uint8Array, at: Stamp, rootShape: Shape) {
    this.#bytes = bytes;
    this.#reader = new Reader(bytes);
    this.#seq = at.seq;
    this.#rootShape = rootShape;
    this.actors = [at.actor];
  }

  read(): Operation[] {
    const operations: Operation[] = [];
    while (this.#reader.left > 0) operations.push(this.#operation());
    if (operations.length === 0) throw malformed("an event without operations");
    return operations;
  }

  #operation(): Operation {
    if (this.#rootShape !== SHAPE_MAP) return this.#leaf(this.#rootShape, ROOT, -1, "", this.#reader.byte());
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
        return this.#leaf(shape, path, kind, key, this.#reader.byte());
      }
      path = { kinds: [...path.kinds, kind], keys: [...path.keys, key] };
      code = this.#reader.byte();
    }
    this.#lastMap = path;
    return this.#mapOperation(path, code);
  }

  #key(): string {
    return this.#reader.stringOf(this.#reader.uintMax(KEY_BYTES_MAX, "the length of a key"));
  }

  #mapOperation(path: Path, code: number): Operation {
    if (code === OP_DELETE) {
      const key = this.#key();
      const [actors, seqs] = this.#vector(this.#reader.count(2));
      return operation(path, code, -1, key, actors, seqs, [[key, this.#cancels(path.keys.length)]]);
    }
    if (code !== OP_CLEAR) throw malformed(`no operation of a map has the code ${code}`);
    const [actors, seqs] = this.#vector(this.#reader.count(2));
    const count = this.#reader.count(2);
    const cancels: [string, readonly Cancels[]][] = [];
    for (let index = 0; index < count; index++) cancels.push([this.#key(), this.#cancels(path.keys.length)]);
    return operation(path, code, -1, "", actors, seqs, cancels);
  }

  #leaf(shape: Shape, path: Path, kind: number, key: string, first: number): Operation {
    if (shape === SHAPE_REGISTER) return this.#write(path, kind, key, first);
    const amount = this.#reader.uint();
    let start = this.#seq;
    let before = 0;
    if (first === COUNTER_ADD) {
      start -= this.#reader.uintMax(this.#seq - 1, "the length of a run");
      before = this.#reader.uintMax(Number.MAX_SAFE_INTEGER - amount, "the total of a run");
    } else if (first !== COUNTER_FIRST) {
      throw malformed(`no operation of a counter has the code ${first}`);
    }
    return {
      path,
      code: first,
      kind,
      key,
      actors: NO_NUMBERS,
      seqs: NO_NUMBERS,
      value: undefined,
      amount,
      start,
      before,
      cancels: NO_CANCELS,
    };
  }

  #write(path: Path, kind: number, key: string, first: number): Operation {
    let actors = NO_NUMBERS;
    let seqs = NO_NUMBERS;
    if (first !== 1) {
      // The count is one byte up to 126 dots, the first byte of a longer integer above.
      const count = this.#countFrom(first);
      [actors, seqs] = this.#vector(count);
    }
    const start = this.#reader.at;
    const value = readValue(this.#reader);
    const stored = typeof value === "object" ? seal(value, this.#bytes, start, this.#reader.at) : value;
    return {
      path,
      code: WRITE,
      kind,
      key,
      actors,
      seqs,
      value: stored,
      amount: 0,
      start: 0,
      before: 0,
      cancels: NO_CANCELS,
    };
  }

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
        for (let row = 0; row < length; row++) rows.push(this.#cancelledRow());
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

  #cancelledRow(): CancelledRow {
    const actor = this.#actor();
    const start = this.#seqOf();
    const last = start + this.#reader.uintMax(SEQ_MAX - start, "the length of a run");
    return { actor, start, last, total: this.#reader.uint() };
  }
}

function operation(
  path: Path,
  code: number,
  kind: number,
  key: string,
  actors: readonly number[],
  seqs: readonly number[],
  cancels: readonly (readonly [string, readonly Cancels[]])[],
): Operation {
  return { path, code, kind, key, actors, seqs, value: undefined, amount: 0, start: 0, before: 0, cancels };
}

/** Applies the delta of one event. All or nothing: on `MALFORMED` the state is as before. */
export function applyDelta(state: KernelState, delta: Uint8Array, at: Stamp, touched?: Set<string>): void {
  const reader = new DeltaReader(delta, at, state.root.shape);
  const operations = reader.read();
  const actors = reader.actors.map((actor) => state.actors.intern(actor));
  for (const operation of operations) {
    if (touched !== undefined && state.root.shape === SHAPE_MAP) touch(state.root, operation, touched);
    applyOperation(state, operation, at, actors);
  }
}

function touch(root: MapStore, { path, code, key, cancels }: Operation, touched: Set<string>): void {
  const first = path.keys[0];
  if (first !== undefined) touched.add(first);
  else if (code !== OP_CLEAR) touched.add(key);
  else for (const present of [...root.children.keys(), ...cancels.map(([name]) => name)]) touched.add(present);
}

function applyOperation(state: KernelState, operation: Operation, at: Stamp, actors: readonly number[]): void {
  const { code, kind, path } = operation;
  if (kind < 0 && state.root.shape === SHAPE_MAP) {
    removeAt(state, operation, at, actors);
    return;
  }
  const store = kind < 0 ? state.root : ensureChild(ensureMap(state.root as MapStore, path), operation.key, kind);
  const own = actors[0] as number;
  if (code === WRITE) {
    const dot = { actor: own, seq: at.seq, time: at.time, value: operation.value };
    applyWrite(store as RegisterStore, state.actors, dot, mapped(operation.actors, actors), operation.seqs);
  } else if (code === COUNTER_FIRST) {
    applyFirst(store as CounterStore, own, at.seq, operation.amount);
  } else {
    applyAdd(store as CounterStore, own, at.seq, operation.start, operation.before, operation.amount);
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
  const found = inChain(map.children.get(key), kind);
  if (found !== undefined) return found;
  const store = createStore(kind, map, key);
  attach(map, key, store);
  return store;
}

function findMap(root: MapStore, path: Path): MapStore | undefined {
  let map: MapStore | undefined = root;
  for (let level = 0; level < path.keys.length && map !== undefined; level++) {
    map = inChain(map.children.get(path.keys[level] as string), path.kinds[level] as number) as MapStore | undefined;
  }
  return map;
}

function removeAt(state: KernelState, operation: Operation, at: Stamp, actors: readonly number[]): void {
  const map = findMap(state.root as MapStore, operation.path);
  if (map === undefined) return;
  const vector = new Map<number, number>();
  for (const [index, seq] of operation.seqs.entries()) {
    vector.set(actors[operation.actors[index] as number] as number, seq);
  }
  const remover = { actor: actors[0] as number, seq: at.seq };
  const cancels = new Map(operation.cancels.map(([key, inner]) => [key, translate(inner, actors)]));
  const keys = operation.code === OP_DELETE ? [operation.key] : [...map.children.keys()];
  for (const key of keys) {
    applyRemoval(state.actors, map, key, { vector, cancels: cancels.get(key) ?? [] }, remover);
  }
  prune(map);
}

/** The same cancellations, with the state's indexes of actors in place of the delta's. */
function translate(cancels: readonly Cancels[], actors: readonly number[]): readonly Cancels[] {
  return cancels.map(({ kind, rows, children }) => ({
    kind,
    rows: rows.map((row) => ({ ...row, actor: actors[row.actor] as number })),
    children: new Map([...children].map(([key, inner]) => [key, translate(inner, actors)])),
  }));
}
