import type { Writer } from "../codec.ts";
import { CrdtError } from "../error.ts";
import type { Transaction } from "../type.ts";
import { OP_CHILD, OP_SAME } from "./delta.ts";
import { type OpenDelta, openDelta } from "./open-delta.ts";
import type { KernelState } from "./state.ts";
import {
  KEY_BYTES_MAX,
  type MapStore,
  PATH_DEPTH_MAX,
  type Store,
  attach,
  createStore,
  detach,
  inChain,
} from "./store.ts";

/**
 * A place in a state, whether or not something is there now: the root, or the child of a kind under a key. It looks
 * its store up each time, so it stays right when the store is removed and made again.
 */
export class Cursor {
  readonly state: KernelState;
  readonly transaction: Transaction | undefined;
  readonly open: OpenDelta;
  readonly parent: Cursor | undefined;
  readonly key: string;
  readonly kind: number;
  readonly #depth: number;

  constructor(state: KernelState, transaction: Transaction | undefined, kind: number, parent?: Cursor, key = "") {
    this.state = state;
    this.transaction = transaction;
    this.open = parent?.open ?? openDelta(transaction);
    this.kind = kind;
    this.parent = parent;
    this.key = key;
    this.#depth = parent === undefined ? 0 : parent.#depth + 1;
  }

  /** The cursor of a child. Throws `TypeError` for a key that is no string and `LIMIT_EXCEEDED` past the depth limit. */
  child(key: string, kind: number): Cursor {
    this.assertChild(key);
    return new Cursor(this.state, this.transaction, kind, this, key);
  }

  /** Throws as `child` does. */
  assertChild(key: string): void {
    if (typeof key !== "string") throw new TypeError(`a key is a string, not ${typeof key}`);
    if (this.#depth === PATH_DEPTH_MAX) {
      throw new CrdtError("LIMIT_EXCEEDED", `maps nest at most ${PATH_DEPTH_MAX} levels deep`);
    }
  }

  find(): Store | undefined {
    if (this.parent === undefined) return this.state.root;
    const map = this.parent.find() as MapStore | undefined;
    return inChain(map?.children.get(this.key), this.kind);
  }

  /** The store, made if need be together with the maps above it; a rollback takes it off again. */
  ensure(transaction: Transaction): Store {
    const parent = this.parent;
    if (parent === undefined) return this.state.root;
    const map = parent.ensure(transaction) as MapStore;
    const found = inChain(map.children.get(this.key), this.kind);
    if (found !== undefined) return found;
    const store = createStore(this.kind, map, this.key);
    attach(map, this.key, store);
    transaction.onRollback(() => detach(map, this.key, store));
    return store;
  }

  /** Begins an operation. Throws `TypeError` where nothing may be written. */
  begin(): Transaction {
    const transaction = this.transaction;
    if (transaction === undefined) throw new TypeError("this is a read-only view: write inside mutate()");
    transaction.begin();
    this.open.startOperation(transaction.serial);
    return transaction;
  }

  /** Notes the top-level key under which something changed. */
  touch(transaction: Transaction): void {
    if (transaction.touched === undefined || this.parent === undefined) return;
    if (this.parent.parent === undefined) transaction.touched.add(this.key);
    else this.parent.touch(transaction);
  }

  /** Writes where the operation that follows applies: nothing for the root. */
  writePath(delta: Writer): void {
    const parent = this.parent;
    if (parent !== undefined) {
      parent.writeChildPath(delta, parent.find() as MapStore | undefined, this.key, this.kind);
    }
  }

  /** Writes the path of a child; `map` is what stands at this cursor. */
  writeChildPath(delta: Writer, map: MapStore | undefined, key: string, kind: number): void {
    if (this.parent !== undefined) {
      if (this.open.isLastMap(delta, map)) delta.byte(OP_SAME);
      else this.#writeSteps(delta);
    }
    writeStep(delta, kind, key);
  }

  /** Writes the path of a map whose own operation follows. */
  writeMapPath(delta: Writer): void {
    if (this.parent === undefined) return;
    if (this.open.isLastMap(delta, this.find() as MapStore | undefined)) delta.byte(OP_SAME);
    else this.#writeSteps(delta);
  }

  #writeSteps(delta: Writer): void {
    if (this.parent === undefined) return;
    this.parent.#writeSteps(delta);
    writeStep(delta, this.kind, this.key);
  }
}

function writeStep(delta: Writer, kind: number, key: string): void {
  delta.byte(OP_CHILD + kind);
  writeKey(delta, key);
}

/** Writes a key. Throws `LIMIT_EXCEEDED` for one that is too long and `TypeError` for a lone surrogate. */
export function writeKey(writer: Writer, key: string): void {
  // A UTF-16 unit takes at most three bytes: most keys need no count of their bytes.
  if (key.length * 3 > KEY_BYTES_MAX) checkKeyBytes(key);
  writer.string(key);
}

function checkKeyBytes(key: string): void {
  let bytes = key.length;
  for (let index = 0; index < key.length && bytes <= KEY_BYTES_MAX; index++) {
    const unit = key.charCodeAt(index);
    // A surrogate pair takes four bytes: two for each of its units.
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  if (bytes > KEY_BYTES_MAX) throw new CrdtError("LIMIT_EXCEEDED", `a key has more than ${KEY_BYTES_MAX} bytes`);
}
