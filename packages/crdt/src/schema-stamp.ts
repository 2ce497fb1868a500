import type { Actor } from "./actor.ts";
import type { Writer } from "./codec.ts";
import type { Transaction } from "./type.ts";

/** A transaction that does something before the first operation of each event. */
export class StampingTransaction implements Transaction {
  readonly #inner: Transaction;
  readonly #beforeFirst: () => void;
  #serial = -1;

  /** @param beforeFirst may write to the event through `inner`; when it throws, so does the operation */
  constructor(inner: Transaction, beforeFirst: () => void) {
    this.#inner = inner;
    this.#beforeFirst = beforeFirst;
  }

  get actor(): Actor {
    return this.#inner.actor;
  }

  get seq(): number {
    return this.#inner.seq;
  }

  get time(): number {
    return this.#inner.time;
  }

  get delta(): Writer {
    return this.#inner.delta;
  }

  get serial(): number {
    return this.#inner.serial;
  }

  get scratch(): unknown {
    return this.#inner.scratch;
  }

  set scratch(scratch: unknown) {
    this.#inner.scratch = scratch;
  }

  get touched(): Set<string> | undefined {
    return this.#inner.touched;
  }

  begin(): void {
    this.#inner.begin();
    if (this.#serial === this.#inner.serial) return;
    this.#beforeFirst();
    this.#serial = this.#inner.serial;
  }

  onRollback<A, B, C>(undo: (first: A, second: B, third: C) => void, first?: A, second?: B, third?: C): void {
    this.#inner.onRollback(undo, first, second, third);
  }
}
