import { type Actor, type AnyCrdtType, type HybridClock, SEQ_MAX } from "@coppice/crdt";
import type { GroupId } from "@coppice/storage";
import type { CausalPast } from "./causal-past.ts";
import { GroupTransaction } from "./group-transaction.ts";
import { type ActorSource, Incarnation, type Issued } from "./incarnation.ts";
import type { RunBuilder, RunBuilders } from "./run-builder.ts";
import type { Run } from "./run.ts";

/** What a group needs of its node to write. */
export interface WriterEnvironment extends ActorSource {
  readonly builders: RunBuilders;
}

/** What users hold to change the state: one mutator for each type that shows it. */
interface Binding {
  readonly type: AnyCrdtType;
  readonly mutator: unknown;
}

/** The events that this process makes in one group: under which actor, each as a whole or not at all, a run a tick. */
export class OwnEvents {
  readonly #environment: WriterEnvironment;
  readonly #past: CausalPast;
  readonly #clock: HybridClock;
  /** Under which actor this process writes. */
  readonly incarnation: Incarnation;
  #transaction: GroupTransaction | undefined;
  /** From the first event of a tick to its end. */
  #builder: RunBuilder | undefined;
  #bindings: readonly Binding[] = NO_BINDINGS;
  #made = 0;

  constructor(group: GroupId, environment: WriterEnvironment, past: CausalPast, clock: HybridClock) {
    this.#environment = environment;
    this.#past = past;
    this.#clock = clock;
    this.incarnation = new Incarnation(group, environment);
  }

  /** Rises with each event made. */
  get made(): number {
    return this.#made;
  }

  /** The last event issued here under the current actor. */
  get issued(): Issued | undefined {
    return this.incarnation.issued;
  }

  /** Whether a callback is running. */
  get isOpen(): boolean {
    return this.#transaction?.isOpen === true;
  }

  /** See `Incarnation.resume`. */
  resume(issued: Issued): void {
    this.incarnation.resume(issued, this.#past.vector);
  }

  /** Whether a peer claims more of this incarnation than was issued here: a copy of this process' data writes elsewhere. */
  isReused(actor: Actor, seq: number): boolean {
    return this.incarnation.isReused(actor, seq);
  }

  /** Writes on as a new actor, since a peer knows event `seq` of this one. What was made must have been taken. */
  replace(seq: number): void {
    this.incarnation.replace(this.#past.vector, seq);
  }

  /** Whether the current actor has no sequence numbers left. */
  get isExhausted(): boolean {
    return this.incarnation.seq >= SEQ_MAX - 1;
  }

  /** Writes on as a new actor. What was made must have been taken. */
  renew(): void {
    this.incarnation.exhausted(this.#past.vector);
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
      result = fn(this.#mutator(type, state, transaction) as Mutator);
      if (isThenable(result)) {
        throw new TypeError("the callback of mutate() must be synchronous: it returned a promise");
      }
    } catch (error) {
      transaction.rollback();
      this.#rest();
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

  /** The state is another one. */
  rebind(): void {
    this.#bindings = NO_BINDINGS;
  }

  #mutator(type: AnyCrdtType, state: unknown, transaction: GroupTransaction): unknown {
    for (const binding of this.#bindings) if (binding.type === type) return binding.mutator;
    const mutator: unknown = type.mutator(state, transaction);
    this.#bindings = this.#bindings.concat([{ type, mutator }]);
    return mutator;
  }

  #start(touched: Set<string> | undefined): GroupTransaction {
    const builder = (this.#builder ??= this.#environment.builders.take());
    const transaction = (this.#transaction ??= new GroupTransaction(builder));
    const actor = this.incarnation.issuer ?? this.incarnation.actor(this.#past.vector);
    transaction.start(builder, actor, this.incarnation.seq + 1, this.#clock.next(), touched);
    return transaction;
  }

  #end(transaction: GroupTransaction): void {
    const { hasWritten, actor, seq, time } = transaction;
    transaction.commit();
    if (!hasWritten) return this.#rest();
    this.incarnation.issue(seq);
    this.#builder?.add(actor, seq, time, this.#past.extend(actor, seq));
    this.#made++;
  }

  /** Lets go of a builder that holds nothing. */
  #rest(): void {
    const builder = this.#builder;
    if (builder === undefined || builder.count > 0) return;
    builder.undos.clear();
    this.#builder = undefined;
    this.#environment.builders.giveBack(builder);
  }

  /** Takes the events made since the last call; undefined when there are none. */
  take(): Run | undefined {
    const builder = this.#builder;
    if (builder === undefined || builder.count === 0) return undefined;
    const run = builder.take();
    this.#builder = undefined;
    this.#environment.builders.giveBack(builder);
    return run;
  }
}

const NO_BINDINGS: readonly Binding[] = [];

function isThenable(value: unknown): boolean {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
