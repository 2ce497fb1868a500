import { ACTOR_BYTES, type Actor, actorFromBytes } from "../actor.ts";
import { type Reader, malformed } from "../codec.ts";
import type { Stamp } from "../type.ts";
import { SEQ_MAX } from "../vector.ts";
import { Increment, type IncrementDetails, readAmount } from "./counter.ts";
import { LOG_APPEND, OP_CHILD, OP_CLEAR, OP_DELETE, OP_SAME } from "./delta.ts";
import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, type Shape, shapeOf } from "./kinds.ts";
import { readStored } from "./register.ts";
import type { CancelledRow, Cancels } from "./removal.ts";
import { KEY_BYTES_MAX, PATH_DEPTH_MAX, type Store, type Stored } from "./store.ts";

const ROW_BYTES_MIN = 4;
export const NO_NUMBERS: readonly number[] = [];
const NO_CANCELS: readonly (readonly [string, readonly Cancels[]])[] = [];

/** The maps on the way to a store, from the root down. */
export interface Path {
  readonly kinds: readonly number[];
  readonly keys: readonly string[];
}

const ROOT: Path = { kinds: [], keys: [] };

/** What an operation has beyond a place and a value. Actors are indexes into the delta's own table. */
export interface Details extends IncrementDetails {
  readonly actors: readonly number[];
  readonly seqs: readonly number[];
  readonly cancels: readonly (readonly [string, readonly Cancels[]])[];
}

export const WRITE = 0x20;

/**
 * Operations as read, in columns: an object each would cost more than applying it does. An operation without details
 * is a write that overwrites nothing of others; kind -1 stands for an operation on the root or on a map as such.
 */
export class Operations {
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

/** A write that overwrites nothing of others. */
export const PLAIN: Details = {
  code: WRITE,
  actors: NO_NUMBERS,
  seqs: NO_NUMBERS,
  amount: 0,
  start: 0,
  before: 0,
  cancels: NO_CANCELS,
};

const APPEND: Details = { ...PLAIN, code: 0x21 };

/** Reads a key. Throws `MALFORMED`. */
export function readKey(reader: Reader): string {
  return reader.stringOf(reader.uintMax(KEY_BYTES_MAX, "the length of a key"));
}

/** Reads a whole delta before anything is changed. */
export class DeltaReader {
  readonly #reader: Reader;
  readonly #seq: number;
  readonly #rootKind: number;
  readonly #rootShape: Shape;
  /** The actors named by the delta: entry 0 is the event's own. */
  readonly actors: Actor[];
  #lastMap: Path | undefined;

  constructor(source: Reader, at: Stamp, root: Store) {
    this.#reader = source;
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
      this.#leaf(operations, this.#rootShape, ROOT, -1, "");
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
        this.#leaf(operations, shape, path, kind, key);
        return;
      }
      path = { kinds: [...path.kinds, kind], keys: [...path.keys, key] };
      code = this.#reader.byte();
    }
    this.#lastMap = path;
    this.#mapOperation(operations, path, code);
  }

  #key(): string {
    return readKey(this.#reader);
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

  #leaf(operations: Operations, shape: Shape, path: Path, kind: number, key: string): void {
    if (shape === SHAPE_COUNTER) {
      const increment = new Increment();
      increment.read(this.#reader, kind < 0 ? this.#rootKind : kind, this.#seq);
      const { code, amount, start, before } = increment;
      const details = { code, actors: NO_NUMBERS, seqs: NO_NUMBERS, amount, start, before, cancels: NO_CANCELS };
      operations.add(path, key, kind, undefined, details);
      return;
    }
    const first = this.#reader.byte();
    if (shape === SHAPE_LOG) {
      if (first !== LOG_APPEND) throw malformed(`no operation of a log has the code ${first}`);
      operations.add(path, key, kind, readStored(this.#reader), APPEND);
      return;
    }
    this.#write(operations, path, kind, key, first);
  }

  #write(operations: Operations, path: Path, kind: number, key: string, first: number): void {
    let details: Details | undefined;
    if (first !== 1) {
      const [actors, seqs] = this.#vector(this.#countFrom(first));
      details = { ...PLAIN, actors, seqs };
    }
    operations.add(path, key, kind, readStored(this.#reader), details);
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
