import type { Actor, HybridTime, Transaction, Writer } from "@coppice/crdt";
import type { Incarnation } from "./incarnation.ts";
import type { RunBuilder } from "./run-builder.ts";
import type { UndoLog } from "./undo-log.ts";

/** A group's transaction of one tick: its stamp moves on with each `mutate`, and it writes into the tick's builder. */
export class GroupTransaction implements Transaction {
  readonly delta: Writer;
  actor: Actor = "" as Actor;
  seq = 0;
  time: HybridTime = 0;
  serial = 0;
  scratch: unknown = undefined;
  touched: Set<string> | undefined = undefined;
  readonly #undos: UndoLog;
  readonly #incarnation: Incarnation | undefined;
  #isOpen = false;
  #start = 0;

  constructor(builder: RunBuilder, incarnation?: Incarnation) {
    this.delta = builder.deltas;
    this.#undos = builder.undos;
    this.#incarnation = incarnation;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether the callback has written anything. */
  get hasWritten(): boolean {
    return this.delta.length > this.#start;
  }

  begin(): void {
    if (!this.#isOpen) throw new TypeError("a mutator was used outside the mutate() callback it was given to");
  }

  checkMembership(): void {
    this.#incarnation?.checkMembership();
  }

  onRollback<A, B, C>(undo: (first: A, second: B, third: C) => void, first?: A, second?: B, third?: C): void {
    this.#undos.push(undo as (first: unknown, second: unknown, third: unknown) => void, first, second, third);
  }

  /** Starts an event of the time that was set. */
  start(actor: Actor, seq: number, touched: Set<string> | undefined): void {
    this.actor = actor;
    this.seq = seq;
    this.touched = touched;
    this.serial++;
    this.#start = this.delta.length;
    this.#isOpen = true;
  }

  /** Keeps what the callback did. */
  commit(): void {
    this.#isOpen = false;
    this.#undos.forget();
  }

  /** Takes back what the callback did. */
  rollback(): void {
    this.#isOpen = false;
    this.#undos.rollback();
    this.delta.reset(this.#start);
  }
}
