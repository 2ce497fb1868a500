import type { Actor } from "./actor.ts";
import type { HybridTime } from "./clock.ts";
import type { Writer } from "./codec.ts";
import type { VersionVector } from "./vector.ts";

/** Who wrote an event, its number in that actor's sequence (from 1 on), and when. `(actor, seq)` is the event's dot. */
export interface Stamp {
  readonly actor: Actor;
  readonly seq: number;
  readonly time: HybridTime;
}

/**
 * A walk over consecutive events of one actor, the oldest first. After each `next` that returns true, the stamp and the
 * delta are those of the event it has come to.
 */
export interface EventWalk extends Stamp {
  /** Holds the delta, from byte `start` up to `end`. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Moves on to the next event; false after the last. */
  next(): boolean;
}

/**
 * The event being made while a `mutate` callback runs. The shell moves the stamp of one on through several
 * callbacks, so a mutator may hold it; it must read the stamp at each operation.
 *
 * An operation (1) checks its arguments, (2) calls `begin()`, (3) appends to `delta`, (4) changes the state at once,
 * and (5) registers how to take the change back.
 */
export interface Transaction extends Stamp {
  /**
   * Where the delta goes: operations in the order in which they were made. Nothing written means no event. Append only:
   * what stands before (the deltas of earlier events of this tick) is not this event's.
   */
  readonly delta: Writer;
  /** Rises with every callback of this transaction, a rolled-back one included (whose `seq` is given again). */
  readonly serial: number;
  /**
   * For the type's use: what its mutators keep for one delta, such as a table of the actors it names, together with the
   * `serial` it is of. `undefined` at first; the shell only keeps it.
   */
  scratch: unknown;
  /** Top-level keys touched, when somebody watches. */
  readonly touched: Set<string> | undefined;
  /** Throws `TypeError` outside the `mutate` callback that this transaction belongs to. */
  begin(): void;
  /**
   * Throws unless the set of writers is closed and known, for an operation that is only safe then. Where there is none,
   * the caller sees to that.
   */
  checkMembership?(): void;
  /**
   * Registers how to take back one change of the state; run in reverse order when the callback throws. What `undo` needs
   * can be given beside it, so that a frequent operation makes no closure each time.
   */
  onRollback<A = undefined, B = undefined, C = undefined>(
    undo: (first: A, second: B, third: C) => void,
    first?: A,
    second?: B,
    third?: C,
  ): void;
}

/** What garbage collection could free: tombstones and metadata that no replica needs any more. */
export interface GcInfo {
  readonly collectable: number;
  readonly tombstones: number;
}

/**
 * A CRDT type: pure code, no I/O, no clock, no randomness. The shell around it sequences events, delivers each exactly
 * once and in causal order, and stores states together with their version vector. So equal version vectors mean equal
 * states, and a type needs no causal metadata of its own beyond the dots of what is alive.
 *
 * Two types of one `name` share state and bytes, and may differ only in `mutator`, `view` and `value`.
 *
 * The laws that a type must keep are in `crdtSuite` (`@coppice/crdt/testing`).
 */
export interface CrdtType<State, Value, Mutator extends View, View = Mutator> {
  /** Part of the wire and disk formats: 1 to 64 characters of `a-z`, `0-9`, `-` and `.`. */
  readonly name: string;

  create(): State;

  /**
   * The object that users get in `mutate`. It may be kept as long as `state` and `transaction` are, and checks
   * `transaction.begin()` at each write.
   */
  mutator(state: State, transaction: Transaction): Mutator;

  /** The object that users get in `read`: point reads that do not build the value. */
  view(state: State): View;

  /**
   * Applies one event of another replica (or an own one, replayed). It arrives once, and after all that it follows.
   * Decodes everything before changing anything: on `CrdtError` `MALFORMED` the state is as before.
   *
   * @param touched where to note the top-level keys that the event changed, when somebody watches
   */
  apply(state: State, delta: Uint8Array, at: Stamp, touched?: Set<string>): void;

  /**
   * Applies all events of a walk, as `apply` would one after the other, but without a view and a stamp for each. On
   * `CrdtError` `MALFORMED` the walk stands at the event that was refused, and those before it are applied.
   */
  applyAll?(state: State, events: EventWalk, touched?: Set<string>): void;

  /**
   * Joins another replica's encoded state. Something that is covered by `theirVector` and absent from `body` was
   * removed there; something covered by `ourVector` and absent here was removed here. All or nothing, as `apply`.
   */
  join(
    state: State,
    body: Uint8Array,
    ourVector: VersionVector,
    theirVector: VersionVector,
    touched?: Set<string>,
  ): void;

  encode(state: State): Uint8Array;

  /** Throws `CrdtError` `MALFORMED`; never allocates more than a small multiple of `body`. */
  decode(body: Uint8Array): State;

  /** A smaller body for a replica that knows `vector`: joining it there equals joining `encode(state)`. */
  encodeSince?(state: State, vector: VersionVector): Uint8Array;

  /** Plain, JSON-friendly, frozen data. */
  value(state: State): Value;

  /**
   * Writes a canonical form of all that a reader could ever see: equal version vectors give equal bytes, whatever the
   * order of delivery. Collectable metadata is left out.
   */
  canonical(state: State, writer: Writer): void;

  /** What `collect` would free, given that every replica knows `stable`. Absent for types without garbage. */
  gcInfo?(state: State, stable: VersionVector): GcInfo;

  /** Frees what no replica needs any more, given that every replica knows `stable`; returns how many items. */
  collect?(state: State, stable: VersionVector): number;

  /**
   * For types that change by themselves, or are changed behind the shell's back (Yjs tidies up after remote edits;
   * editors write to its document directly): writes such changes into `transaction`, as an own event of their own.
   * Nothing written means that there were none. The shell calls it after each `apply` and `join`, before and after each
   * `mutate` callback, before `encode`, and when `watch` wakes it; it never throws.
   */
  settle?(state: State, transaction: Transaction): void;

  /**
   * Calls `wake` when something is there to be settled that arose outside `apply`, `join` and `mutate`. At most one
   * watcher a state; returns how to stop.
   */
  watch?(state: State, wake: () => void): () => void;

  /** Names of the mutator's methods that take and return plain data, for gateways and command lines. */
  readonly operations?: readonly string[];
}

/** A type whatever its parameters, for registries. */
// oxlint-disable-next-line typescript/no-explicit-any -- variance: a registry holds types of every state and mutator.
export type AnyCrdtType = CrdtType<any, any, any, any>;

/** The value of a type. */
export type ValueOf<Type> =
  Type extends CrdtType<infer _State, infer Value, infer _Mutator, infer _View> ? Value : never;

/** The mutator of a type. */
export type MutatorOf<Type> =
  Type extends CrdtType<infer _State, infer _Value, infer Mutator, infer _View> ? Mutator : never;
