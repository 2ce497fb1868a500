import type { Writer } from "../codec.ts";
import type { Transaction } from "../type.ts";
import type { ActorTable, MapStore } from "./store.ts";

/** The actors that the delta being written has named so far: the first use of an actor carries its 16 bytes. */
class DeltaActors {
  readonly #slots: number[] = [];
  readonly #used: number[] = [];

  get size(): number {
    return this.#used.length;
  }

  /** Writes a reference to actor `index`: 0 for `own`. */
  write(writer: Writer, actors: ActorTable, index: number, own: number): void {
    if (index === own) {
      writer.byte(0);
      return;
    }
    const slot = this.#slots[index] ?? 0;
    if (slot > 0) {
      writer.uint(slot);
      return;
    }
    while (this.#slots.length <= index) this.#slots.push(0);
    this.#used.push(index);
    this.#slots[index] = this.#used.length;
    writer.uint(this.#used.length);
    writer.actor(actors.name(index));
  }

  /** Forgets all but the first `size` actors. */
  trim(size: number): void {
    while (this.#used.length > size) this.#slots[this.#used.pop() as number] = 0;
  }
}

/** The delta being written, as far as its next operation must know it: all mutators of a transaction share it. */
export class OpenDelta {
  #actors: DeltaActors | undefined;
  #serial = -1;
  #lastMap: MapStore | undefined;
  #lastEnd = 0;
  #places = 0;

  get actors(): DeltaActors {
    return (this.#actors ??= new DeltaActors());
  }

  /** How many actors it has named. */
  get actorCount(): number {
    return this.#actors?.size ?? 0;
  }

  /** Starts an operation: the first one of a callback starts a new delta. */
  startOperation(serial: number): void {
    if (serial === this.#serial) return;
    this.#serial = serial;
    this.#actors?.trim(0);
    this.#lastMap = undefined;
    this.#places = 0;
  }

  /** Whether the previous operation of this delta was one on the same map, whose path need not be written again. */
  isLastMap(delta: Writer, map: MapStore | undefined): boolean {
    return map !== undefined && this.#lastMap === map && this.#lastEnd === delta.length;
  }

  endOperation(delta: Writer, map: MapStore | undefined): void {
    this.#lastMap = map;
    this.#lastEnd = delta.length;
  }

  /** Numbers the nodes of trees that it places. */
  nextPlace(): number {
    return this.#places++;
  }
}

/** What cursors have that only read. */
const NOTHING_OPEN = new OpenDelta();

/** The open delta of a transaction. */
export function openDelta(transaction: Transaction | undefined): OpenDelta {
  if (transaction === undefined) return NOTHING_OPEN;
  if (transaction.scratch instanceof OpenDelta) return transaction.scratch;
  const open = new OpenDelta();
  transaction.scratch = open;
  return open;
}
