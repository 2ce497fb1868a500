import type { Actor, HybridTime, Transaction, Writer } from "@coppice/crdt";

/** The one transaction of an open group: its stamp moves on with each `mutate`. */
export class GroupTransaction implements Transaction {
  readonly delta: Writer;
  actor: Actor = "" as Actor;
  seq = 0;
  time: HybridTime = 0;
  serial = 0;
  touched: Set<string> | undefined = undefined;
  #isOpen = false;
  #start = 0;
  readonly #undos: (() => void)[] = [];

  constructor(delta: Writer) {
    this.delta = delta;
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

  onRollback(undo: () => void): void {
    this.#undos.push(undo);
  }

  /** Starts an event. */
  start(actor: Actor, seq: number, time: HybridTime, touched: Set<string> | undefined): void {
    this.actor = actor;
    this.seq = seq;
    this.time = time;
    this.touched = touched;
    this.serial++;
    this.#start = this.delta.length;
    this.#isOpen = true;
  }

  /** Keeps what the callback did. */
  commit(): void {
    this.#isOpen = false;
    if (this.#undos.length > 0) this.#undos.length = 0;
  }

  /** Takes back what the callback did, newest change first. */
  rollback(): void {
    this.#isOpen = false;
    for (let undo = this.#undos.pop(); undo !== undefined; undo = this.#undos.pop()) undo();
    this.delta.reset(this.#start);
  }
}
