import { Reader } from "../codec.ts";
import type { EventWalk } from "../type.ts";
import { applyOperations, ensureChild } from "./apply.ts";
import { Increment, applyIncrement } from "./counter.ts";
import { OP_CHILD } from "./delta.ts";
import { NO_NUMBERS, readKey } from "./delta-reader.ts";
import { SHAPE_COUNTER, SHAPE_MAP, SHAPE_REGISTER, shapeOf } from "./kinds.ts";
import { applyWrite, isAlone, readStored } from "./register.ts";
import type { KernelState } from "./state.ts";
import { type CounterStore, type MapStore, RegisterStore, type Stored } from "./store.ts";

/** What a write begins with that overwrites nothing of others. */
const OVERWRITES_NOTHING = 1;

/** Applies the events of a walk; see `CrdtType.applyAll`. */
export function applyEvents(state: KernelState, events: EventWalk, touched?: Set<string>): void {
  const reader = new Reader(events.bytes);
  const usual = new UsualEvents(state, events, reader, touched);
  while (events.next()) {
    reader.move(events.start, events.end);
    if (usual.apply()) continue;
    reader.move(events.start, events.end);
    applyOperations(state, reader, events, touched);
  }
}

/**
 * Nearly every event is one operation: an increment of the group's counter, or of one under a key of its map, or a write
 * there that overwrites nothing of other actors. Such an event is applied as it is read, with nothing in between.
 */
class UsualEvents {
  readonly #state: KernelState;
  readonly #events: EventWalk;
  readonly #reader: Reader;
  readonly #touched: Set<string> | undefined;
  readonly #increment = new Increment();
  /** The state's index of the actor; known with the first event that is sound. */
  #actor = -1;

  constructor(state: KernelState, events: EventWalk, reader: Reader, touched: Set<string> | undefined) {
    this.#state = state;
    this.#events = events;
    this.#reader = reader;
    this.#touched = touched;
  }

  /** Applies the current event, if it is a usual one. Throws `MALFORMED`; then, as when it is not, nothing is changed. */
  apply(): boolean {
    const { root } = this.#state;
    if (root.shape === SHAPE_COUNTER) return this.#count(root, root.kind);
    if (root.shape !== SHAPE_MAP) return false;
    const kind = this.#reader.byte() - OP_CHILD;
    const shape = shapeOf(kind);
    if (shape === SHAPE_REGISTER) return this.#write(root, readKey(this.#reader), kind);
    return shape === SHAPE_COUNTER && this.#countIn(root, readKey(this.#reader), kind);
  }

  #write(map: MapStore, key: string, kind: number): boolean {
    if (this.#reader.byte() !== OVERWRITES_NOTHING) return false;
    const value = readStored(this.#reader);
    if (this.#reader.left > 0) return false;
    const events = this.#events;
    const actor = this.#own();
    const first = map.children.get(key);
    if (first === undefined) map.put(key, new RegisterStore(kind, actor, events, value));
    else this.#overwrite(ensureChild(map, key, kind, first) as RegisterStore, actor, value);
    this.#touched?.add(key);
    return true;
  }

  #overwrite(register: RegisterStore, actor: number, value: Stored): void {
    // A dot would be an object for each event.
    if (isAlone(register, actor)) return register.assign(actor, this.#events, value, undefined);
    const { seq, time } = this.#events;
    applyWrite(register, this.#state.actors, { actor, seq, time, value }, NO_NUMBERS, NO_NUMBERS);
  }

  #countIn(map: MapStore, key: string, kind: number): boolean {
    if (!this.#isIncrement(kind)) return false;
    applyIncrement(ensureChild(map, key, kind) as CounterStore, this.#own(), this.#events.seq, this.#increment);
    this.#touched?.add(key);
    return true;
  }

  #count(counter: CounterStore, kind: number): boolean {
    if (!this.#isIncrement(kind)) return false;
    applyIncrement(counter, this.#own(), this.#events.seq, this.#increment);
    return true;
  }

  /** Whether one increment is all there is. */
  #isIncrement(kind: number): boolean {
    this.#increment.read(this.#reader, kind, this.#events.seq);
    return this.#reader.left === 0;
  }

  #own(): number {
    if (this.#actor < 0) this.#actor = this.#state.actors.intern(this.#events.actor);
    return this.#actor;
  }
}
