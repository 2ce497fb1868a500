import type { Writer } from "../codec.ts";
import type { Transaction } from "../type.ts";
import { ActorTable, type MapStore, type Store, createStore } from "./store.ts";

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

/** The state of every type that stands on the kernel. */
export class KernelState {
  readonly actors: ActorTable = new ActorTable();
  readonly root: Store;
  #deltaActors: DeltaActors | undefined;
  #serial = -1;
  #lastMap: MapStore | undefined;
  #lastEnd = 0;

  constructor(kind: number) {
    this.root = createStore(kind, undefined, "");
  }

  /** The actors of the delta being written. */
  get deltaActors(): DeltaActors {
    return (this.#deltaActors ??= new DeltaActors());
  }

  /** How many of them there are. */
  get deltaActorCount(): number {
    return this.#deltaActors?.size ?? 0;
  }

  /** Starts an operation: the first one of a callback starts a new table of actors. */
  startOperation(transaction: Transaction): void {
    if (transaction.serial === this.#serial) return;
    this.#serial = transaction.serial;
    this.#deltaActors?.trim(0);
    this.#lastMap = undefined;
  }

  /** Whether the previous operation of this delta was one on the same map, whose path need not be written again. */
  isLastMap(delta: Writer, map: MapStore | undefined): boolean {
    return map !== undefined && this.#lastMap === map && this.#lastEnd === delta.length;
  }

  endOperation(delta: Writer, map: MapStore | undefined): void {
    this.#lastMap = map;
    this.#lastEnd = delta.length;
  }

  /** The index of the transaction's own actor. */
  own(transaction: Transaction): number {
    return this.actors.intern(transaction.actor);
  }
}
