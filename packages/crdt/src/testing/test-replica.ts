import { type Actor, createActor } from "../actor.ts";
import { CLOCK_EPOCH_MS, HybridClock } from "../clock.ts";
import { Writer } from "../codec.ts";
import type { CrdtType, EventWalk, Stamp, Transaction } from "../type.ts";
import { VersionVector } from "../vector.ts";

/** An event of a test replica. */
export interface TestEvent extends Stamp {
  readonly delta: Uint8Array;
  /** What its replica knew before it. */
  readonly deps: VersionVector;
  /** What the operations returned, for oracles. */
  readonly notes: readonly unknown[];
}

type Walked = Stamp & Pick<TestEvent, "delta">;

/** A walk over consecutive events of one actor; no delta stands alone in the buffer. */
class TestWalk implements EventWalk {
  readonly actor: Actor;
  seq = 0;
  time = 0;
  readonly bytes: Uint8Array;
  start = 0;
  end = 0;
  readonly #left: Walked[];

  constructor(events: readonly [Walked, ...Walked[]]) {
    this.actor = events[0].actor;
    this.#left = [...events];
    this.bytes = new Uint8Array(events.reduce((sum, { delta }) => sum + delta.length + 1, 1)).fill(0x81);
    let at = 1;
    for (const { delta } of events) {
      this.bytes.set(delta, at);
      at += delta.length + 1;
    }
  }

  next(): boolean {
    const event = this.#left.shift();
    if (event === undefined) return false;
    this.seq = event.seq;
    this.time = event.time;
    this.start = this.end + 1;
    this.end = this.start + event.delta.length;
    return true;
  }
}

/** A walk over one event. */
export function walkOver(stamp: Stamp, delta: Uint8Array): EventWalk {
  return new TestWalk([{ actor: stamp.actor, seq: stamp.seq, time: stamp.time, delta }]);
}

/** That of several events, as a shell has one for a tick. */
class TestTransaction implements Transaction {
  readonly actor: Actor;
  seq = 0;
  time = 0;
  serial = 0;
  readonly delta: Writer = new Writer();
  scratch: unknown = undefined;
  readonly touched: Set<string>;
  undos: (() => void)[] = [];
  #open = false;

  constructor(actor: Actor, touched: Set<string>) {
    this.actor = actor;
    this.touched = touched;
  }

  start(seq: number, time: number): void {
    this.seq = seq;
    this.time = time;
    this.serial++;
    this.undos = [];
    this.#open = true;
  }

  begin(): void {
    if (!this.#open) throw new TypeError("this mutator is used outside its mutate() callback");
  }

  onRollback<A, B, C>(undo: (first: A, second: B, third: C) => void, first?: A, second?: B, third?: C): void {
    this.undos.push(() => undo(first as A, second as B, third as C));
  }

  close(): void {
    this.#open = false;
  }
}

/**
 * A replica for tests: what a replication shell does around a type, and no more. Events may be given to it in any
 * order and more than once.
 */
export class TestReplica<State, Value, Mutator extends View, View> {
  readonly type: CrdtType<State, Value, Mutator, View>;
  readonly actor: Actor;
  readonly vector: VersionVector = new VersionVector();
  /** Every event known, in the order of application: empty of what came as a state. */
  readonly events: Map<string, TestEvent> = new Map();
  /** The top-level keys that the type said were touched, until somebody clears it. */
  readonly touched: Set<string> = new Set();
  readonly #pending: Map<string, TestEvent> = new Map();
  readonly #clock: HybridClock;
  #transaction: TestTransaction;
  #settling = false;
  #state: State;

  constructor(type: CrdtType<State, Value, Mutator, View>, actor: Actor, now: () => number) {
    this.type = type;
    this.actor = actor;
    this.#clock = new HybridClock(now);
    this.#transaction = new TestTransaction(actor, this.touched);
    this.#state = type.create();
  }

  get state(): State {
    return this.#state;
  }

  /** Runs `change` as one event; takes everything back when it throws. Returns the event, if something was written. */
  mutate(change: (mutator: Mutator) => unknown): TestEvent | undefined {
    this.settle();
    if (this.#transaction.delta.length > 1000) this.#transaction = new TestTransaction(this.actor, this.touched);
    const transaction = this.#start();
    const start = transaction.delta.length;
    let notes: unknown;
    try {
      notes = change(this.type.mutator(this.#state, transaction));
    } catch (error) {
      for (const undo of transaction.undos.toReversed()) undo();
      transaction.delta.reset(start);
      transaction.close();
      this.settle();
      throw error;
    }
    transaction.close();
    const event = this.#publish(transaction, start, Array.isArray(notes) ? notes : [notes]);
    this.settle();
    return event;
  }

  #start(): TestTransaction {
    this.#transaction.start(this.vector.get(this.actor) + 1, this.#clock.next());
    return this.#transaction;
  }

  #publish(transaction: TestTransaction, start: number, notes: readonly unknown[]): TestEvent | undefined {
    const delta = transaction.delta.take(start);
    if (delta.length === 0) return undefined;
    const { actor, seq, time } = transaction;
    const event = { actor, seq, time, delta, deps: this.vector.clone(), notes };
    this.vector.set(actor, seq);
    this.events.set(`${actor}:${seq}`, event);
    return event;
  }

  /** Makes an event of what the type changed by itself. */
  settle(): void {
    const { settle } = this.type;
    if (settle === undefined || this.#settling) return;
    this.#settling = true;
    const transaction = this.#start();
    const start = transaction.delta.length;
    settle(this.#state, transaction);
    transaction.close();
    this.#publish(transaction, start, []);
    this.#settling = false;
  }

  /** Takes an event: at once, later when what it follows is missing, or not at all when it is known. */
  receive(event: TestEvent): void {
    if (this.vector.covers(event.actor, event.seq)) return;
    this.#pending.set(`${event.actor}:${event.seq}`, event);
    this.#drain();
  }

  #drain(): void {
    for (let again = true; again;) {
      again = false;
      for (const [id, event] of this.#pending) {
        if (!this.vector.covers(event.actor, event.seq)) {
          if (this.vector.get(event.actor) + 1 !== event.seq || !this.vector.includes(event.deps)) continue;
          this.#apply(event);
          this.vector.set(event.actor, event.seq);
          this.#clock.observe(event.time);
          this.events.set(id, event);
          this.settle();
          again = true;
        }
        this.#pending.delete(id);
      }
    }
  }

  /** Takes events that come in causal order: what follows each other of one actor in one walk. */
  receiveInWalks(events: Iterable<TestEvent>): void {
    const { applyAll } = this.type;
    const walks: [TestEvent, ...TestEvent[]][] = [];
    for (const event of events) {
      const last = walks.at(-1);
      if (this.vector.covers(event.actor, event.seq)) continue;
      if (applyAll === undefined) this.receive(event);
      else if (last?.[0].actor === event.actor) last.push(event);
      else walks.push([event]);
    }
    for (const walk of walks) {
      applyAll?.(this.#state, new TestWalk(walk), this.touched);
      for (const { actor, seq } of walk) this.vector.set(actor, seq);
      this.settle();
    }
  }

  /** In both ways that a shell may choose. */
  #apply(event: TestEvent): void {
    if (event.seq % 2 === 0 || this.type.applyAll === undefined) {
      this.type.apply(this.#state, event.delta, event, this.touched);
    } else {
      this.type.applyAll(this.#state, walkOver(event, event.delta), this.touched);
    }
  }

  /** Takes the whole state of another replica; only what is missing here, where the type can do so and `since` is set. */
  joinFrom(other: TestReplica<State, Value, Mutator, View>, since = false): void {
    const body =
      since && this.type.encodeSince !== undefined
        ? this.type.encodeSince(other.state, this.vector)
        : this.type.encode(other.state);
    this.type.join(this.#state, body, this.vector, other.vector, this.touched);
    this.vector.merge(other.vector);
    this.#clock.observe(other.#clock.last);
    for (const [id, event] of other.events) if (!this.events.has(id)) this.events.set(id, event);
    this.settle();
    this.#drain();
  }

  /** Writes the state out and reads it in again, as a restart does. */
  reload(): void {
    this.settle();
    this.#state = this.type.decode(this.type.encode(this.#state));
    this.#transaction = new TestTransaction(this.actor, this.touched);
  }

  /** Collects garbage, given that every replica knows `stable`; returns how many items went. */
  collect(stable: VersionVector): number {
    const expected = this.type.gcInfo?.(this.#state, stable).collectable ?? 0;
    const before = this.canonical();
    const collected = this.type.collect?.(this.#state, stable) ?? 0;
    if (collected !== expected) throw new Error(`gcInfo told of ${expected} items, collect freed ${collected}`);
    if (this.canonical() !== before) throw new Error("collecting garbage changed what readers see");
    return collected;
  }

  value(): Value {
    return this.type.value(this.#state);
  }

  /** The canonical bytes, as hexadecimal text. */
  canonical(): string {
    const writer = new Writer();
    this.type.canonical(this.#state, writer);
    return Array.from(writer.peek(), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

/** Makes `count` replicas of a type, each with a clock of its own that stands up to a second apart. */
export function createReplicas<State, Value, Mutator extends View, View>(
  type: CrdtType<State, Value, Mutator, View>,
  count: number,
): TestReplica<State, Value, Mutator, View>[] {
  let ticks = 0;
  return Array.from({ length: count }, (_, index) => {
    const node = new Uint8Array(8).fill(index + 1);
    const skew = ((index * 7919) % 11) * 100;
    return new TestReplica(type, createActor(node, node), () => CLOCK_EPOCH_MS + 1e9 + skew + (ticks++ >> 2));
  });
}

/** Gives every replica all events of all others. */
export function syncAll<State, Value, Mutator extends View, View>(
  replicas: readonly TestReplica<State, Value, Mutator, View>[],
): void {
  // Again while something came of it: a type may answer an event with one of its own.
  for (let before = -1, now = 0; before !== now;) {
    before = now;
    for (const from of replicas) {
      for (const to of replicas) if (from !== to) for (const event of from.events.values()) to.receive(event);
    }
    now = replicas.reduce((sum, replica) => sum + replica.vector.total(), 0);
  }
}

/** Throws unless all replicas know the same events, read the same, and have the same canonical bytes. */
export function assertConvergent<State, Value, Mutator extends View, View>(
  replicas: readonly TestReplica<State, Value, Mutator, View>[],
): void {
  const [first, ...rest] = replicas;
  for (const replica of rest) {
    if (first === undefined) return;
    if (!first.vector.equals(replica.vector)) {
      throw new Error(`not synced: ${JSON.stringify(first.vector)} and ${JSON.stringify(replica.vector)}`);
    }
    if (first.canonical() !== replica.canonical()) {
      throw new Error(`equal vectors, different states: ${show(first.value())} and ${show(replica.value())}`);
    }
  }
}

/** A value as text: for messages, and for comparing. Objects are passed through `record` first. */
export function show(value: unknown, record: (item: object) => unknown = (item) => item): string {
  return String(
    JSON.stringify(value, (_, item: unknown) => {
      if (typeof item === "bigint") return `${item}n`;
      if (Object.is(item, -0)) return "-0";
      if (typeof item === "number" && !Number.isFinite(item)) return String(item);
      return typeof item === "object" && item !== null && !Array.isArray(item) ? record(item) : item;
    }),
  );
}
