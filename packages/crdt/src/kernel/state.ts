import type { Transaction } from "../type.ts";
import { ActorTable, type Store, createStore } from "./store.ts";

/** The state of every type that stands on the kernel. */
export class KernelState {
  readonly actors: ActorTable = new ActorTable();
  readonly root: Store;

  constructor(kind: number) {
    this.root = createStore(kind, undefined, "");
  }

  /** The index of the transaction's own actor. */
  own(transaction: Transaction): number {
    return this.actors.intern(transaction.actor);
  }
}
