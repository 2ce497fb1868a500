import { type Actor, parseActor } from "./actor.ts";
import { CrdtError } from "./error.ts";
import { addToCounter, checkInteger, findRow } from "./kernel/counter.ts";
import type { Cursor } from "./kernel/cursor.ts";
import { kernelType } from "./kernel/kernel-type.ts";
import { KIND_GCOUNTER, KIND_MAP } from "./kernel/kinds.ts";
import type { KernelState } from "./kernel/state.ts";
import { type CounterStore, type MapStore, type Store, inChain } from "./kernel/store.ts";
import type { CrdtType } from "./type.ts";

/**
 * How a bounded counter is kept: a map of grow-only counters, of which each actor writes its own rows only.
 *
 * | key          | the row of actor a counts                      |
 * |--------------|------------------------------------------------|
 * | `+`          | what a added                                   |
 * | `-`          | what a took                                    |
 * | `>` actor b  | what a handed over to b                        |
 * | `!` actor d  | what a reclaimed from d, which is gone         |
 */
const ADDED = "+";
const TAKEN = "-";
const HANDED = ">";
const RECLAIMED = "!";

/** Reads a bounded counter. */
export interface BoundedCounterView {
  /** What was added less what was taken: never below 0. */
  get(): number;
  /** How much of it an actor may take, without asking anybody. */
  rights(actor: Actor): number;
  /** All actors with rights. Those of an actor whose process is gone are stranded until they are reclaimed. */
  holders(): ReadonlyMap<Actor, number>;
}

/** Changes a bounded counter. */
export interface BoundedCounterMutator extends BoundedCounterView {
  /** Adds `amount` and gives the right to take it to this actor. Throws as `gCounter` does. */
  increment(amount?: number): void;
  /** Takes `amount`. Throws `INSUFFICIENT_RIGHTS` when this actor has fewer rights, whatever the counter's value. */
  decrement(amount?: number): void;
  /** Hands rights of this actor over. Throws `INSUFFICIENT_RIGHTS`. */
  transfer(to: Actor, amount: number): void;
  /**
   * Takes over all rights of an actor that is gone, as far as they are known here; returns how many. On a node it fails
   * with `NO_MEMBERSHIP` where the group's domain has no roster.
   *
   * The bound holds only if that actor never writes again, all it wrote is known here, and nobody else reclaims the
   * same rights meanwhile: it takes a closed membership to know so. Never reclaim rights of an own earlier
   * incarnation for the sole reason that it was one's own: it may go on in a copy of the data.
   */
  reclaim(from: Actor): number;
}

class BoundedCounterCursor implements BoundedCounterMutator {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get(): number {
    return readValue(this.#cursor.state.root);
  }

  rights(actor: Actor): number {
    return this.holders().get(actor) ?? 0;
  }

  holders(): ReadonlyMap<Actor, number> {
    const { actors, root } = this.#cursor.state;
    const rights = new Map<Actor, number>();
    const change = (actor: Actor, by: number): void => void rights.set(actor, (rights.get(actor) ?? 0) + by);
    for (const [key, first] of (root as MapStore).children) {
      const counter = inChain(first, KIND_GCOUNTER) as CounterStore | undefined;
      for (const row of counter?.rows ?? []) {
        const writer = actors.name(row.actor);
        change(writer, key === ADDED || key.startsWith(RECLAIMED) ? row.total : -row.total);
        const other = otherActor(key);
        if (other !== undefined) change(other, key.startsWith(HANDED) ? row.total : -row.total);
      }
    }
    return new Map([...rights].filter(([, amount]) => amount !== 0));
  }

  increment(amount = 1): void {
    this.#add(ADDED, amount);
  }

  decrement(amount = 1): void {
    this.#spend(TAKEN, amount);
  }

  transfer(to: Actor, amount: number): void {
    this.#spend(HANDED + parseActor(to), amount);
  }

  reclaim(from: Actor): number {
    const amount = this.rights(parseActor(from));
    this.#cursor.begin().checkMembership?.();
    this.#add(RECLAIMED + from, Math.max(0, amount));
    return Math.max(0, amount);
  }

  #spend(key: string, amount: number): void {
    checkAmount(amount);
    const { actor } = this.#cursor.begin();
    const rights = this.rights(actor);
    if (amount > rights) {
      throw new CrdtError("INSUFFICIENT_RIGHTS", `this actor may take ${rights} of the counter, not ${amount}`);
    }
    this.#add(key, amount);
  }

  #add(key: string, amount: number): void {
    checkAmount(amount);
    const transaction = this.#cursor.begin();
    if (amount === 0) return;
    const cursor = this.#cursor.child(key, KIND_GCOUNTER);
    const store = cursor.find() as CounterStore | undefined;
    const row = store === undefined ? undefined : findRow(store, this.#cursor.state.own(transaction));
    if (!Number.isSafeInteger((row?.total ?? 0) + amount)) throw new RangeError("the counter is exhausted");
    addToCounter(cursor, amount);
  }
}

function checkAmount(amount: number): void {
  checkInteger(amount);
  if (amount < 0) throw new RangeError(`an amount is not negative: ${amount}`);
}

function otherActor(key: string): Actor | undefined {
  if (!key.startsWith(HANDED) && !key.startsWith(RECLAIMED)) return undefined;
  try {
    return parseActor(key.slice(1));
  } catch {
    // A key that no replica of this type writes counts for nobody.
    return undefined;
  }
}

function sum(root: Store, key: string): number {
  const counter = inChain((root as MapStore).children.get(key), KIND_GCOUNTER) as CounterStore | undefined;
  return counter?.rows.reduce((total, row) => total + row.total, 0) ?? 0;
}

function readValue(root: Store | undefined): number {
  return root === undefined ? 0 : sum(root, ADDED) - sum(root, TAKEN);
}

const { nesting: _, ...ofWholeGroups } = kernelType<number, BoundedCounterMutator, BoundedCounterView>(
  "boundedcounter",
  { kind: KIND_MAP, bind: (cursor) => new BoundedCounterCursor(cursor), read: readValue },
  ["increment", "decrement", "transfer", "reclaim", "get", "rights"],
);

/**
 * A counter that never falls below 0, on any replica, whatever the network does (an escrow: Balegas, Serra, Duarte,
 * Ferreira, Rodrigues, Preguiça, Shapiro, Najafzadeh: "Extending Eventually Consistent Cloud Databases for Enforcing
 * Numeric Invariants", 2015). What is added gives its actor the right to take as much; rights move by `transfer`.
 *
 * It cannot stand in a map: a removal would take rights away from actors that are just using them.
 */
export const boundedCounter: CrdtType<KernelState, number, BoundedCounterMutator, BoundedCounterView> = ofWholeGroups;
