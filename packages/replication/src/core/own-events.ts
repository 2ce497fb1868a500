import type { AnyCrdtType, HybridClock } from "@coppice/crdt";
import type { CausalPast } from "./causal-past.ts";
import { GroupTransaction } from "./group-transaction.ts";
import type { ActorSource, Incarnation } from "./incarnation.ts";
import type { RunBuilder, RunBuilders } from "./run-builder.ts";
import type { Run } from "./run.ts";

/** What a group needs of its node to write. */
export interface WriterEnvironment extends ActorSource {
  readonly builders: RunBuilders;
}

/**
 * The events that this process makes in one group in one tick: each as a whole or not at all, together a run. A group has
 * this, with its transaction and its mutator, only from the first write of a tick to the end of the tick.
 */
export class OwnEvents {
  readonly #builders: RunBuilders;
  readonly #past: CausalPast;
  readonly #clock: HybridClock;
  readonly #incarnation: Incarnation;
  readonly #builder: RunBuilder;
  readonly #transaction: GroupTransaction;
  /** What users hold to change the state, and the type that shows it so: several may, but hardly in one tick. */
  #mutator: unknown;
  #type: AnyCrdtType | undefined;

  constructor(builders: RunBuilders, past: CausalPast, clock: HybridClock, incarnation: Incarnation) {
    this.#builders = builders;
    this.#past = past;
    this.#clock = clock;
    this.#incarnation = incarnation;
    this.#builder = builders.take();
    this.#transaction = new GroupTransaction(this.#builder, incarnation);
  }

  /** How many events were made. */
  get count(): number {
    return this.#builder.count;
  }

  /** Whether a callback is running. */
  get isOpen(): boolean {
    return this.#transaction.isOpen;
  }

  /**
   * Runs `fn` on a mutator of `type`, as one event: all of it, or, when it throws, nothing.
   * Returns what `fn` returned. No event is made when nothing was written.
   */
  mutate<Mutator, Result>(
    type: AnyCrdtType,
    state: unknown,
    touched: Set<string> | undefined,
    fn: (mutator: Mutator) => Result,
  ): Result {
    if (this.isOpen) throw new TypeError("mutate() was called inside a mutate() callback of the same group");
    const transaction = this.#start(touched);
    let result: Result;
    try {
      result = fn(this.#mutatorOf(type, state) as Mutator);
      if (isThenable(result)) {
        // What goes on in it fails as well, at a mutator that is not open any more: told here once is enough.
        result.then(undefined, () => {});
        throw new TypeError("the callback of mutate() must be synchronous: it returned a promise");
      }
    } catch (error) {
      transaction.rollback();
      throw error;
    }
    this.#end(transaction);
    return result;
  }

  /** Makes an event of what the type changed by itself, or was changed to behind our back; see `CrdtType.settle`. */
  settle(type: AnyCrdtType, state: unknown, touched: Set<string> | undefined): void {
    const transaction = this.#start(touched);
    type.settle?.(state, transaction);
    this.#end(transaction);
  }

  #mutatorOf(type: AnyCrdtType, state: unknown): unknown {
    if (this.#type !== type) {
      this.#mutator = type.mutator(state, this.#transaction);
      this.#type = type;
    }
    return this.#mutator;
  }

  #start(touched: Set<string> | undefined): GroupTransaction {
    const transaction = this.#transaction;
    const incarnation = this.#incarnation;
    const actor = incarnation.issuer ?? incarnation.actor(this.#past.vector);
    transaction.time = this.#clock.next();
    transaction.start(actor, incarnation.seq + 1, touched);
    return transaction;
  }

  #end(transaction: GroupTransaction): void {
    const { hasWritten, actor, seq } = transaction;
    transaction.commit();
    if (!hasWritten) return;
    this.#incarnation.issue(seq);
    this.#builder.add(transaction, this.#past.extend(actor, seq));
  }

  /** Ends the tick: the events made, as a run; undefined when there are none. */
  take(): Run | undefined {
    const builder = this.#builder;
    const run = builder.count === 0 ? undefined : builder.take();
    builder.undos.clear();
    this.#builders.giveBack(builder);
    return run;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
