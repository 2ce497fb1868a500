import { GroupFilter } from "./group-filter.ts";
import type { GroupId } from "./group-id.ts";
import { readSlots, type SlotValues, wholeRecords } from "./group-records.ts";
import { emptyState, type GroupState, stateOf } from "./group-state.ts";
import type { PackedGroup } from "./pack-commit.ts";
import type { StoreEngine } from "./store-engine.ts";
import { journalLog } from "./store-keys.ts";

/** Reads a group with care, and repairs what is damaged. */
type Repair = (key: string, id: GroupId) => Promise<GroupState | undefined>;

/** The states of the groups in use, and what it takes to know those of others. */
export class GroupStates {
  readonly #engine: StoreEngine;
  readonly #repair: Repair;
  readonly #cache = new StateCache();
  #filter = new GroupFilter();
  /** Since a group that was there before was written to. */
  #newInARow = 0;

  constructor(engine: StoreEngine, repair: Repair) {
    this.#engine = engine;
    this.#repair = repair;
  }

  /** The groups that may be stored: to be told of all of them by a listing while it is not complete. */
  get filter(): GroupFilter {
    return this.#filter;
  }

  set(key: string, state: GroupState): void {
    this.#cache.set(key, state);
  }

  delete(key: string): void {
    this.#cache.delete(key);
  }

  /** Drops what was not used for a while; not while a commit is under way. */
  trim(): void {
    this.#cache.trim();
  }

  clear(): void {
    this.#cache.clear();
    // A new one: a listing that is still under way completes the old one.
    this.#filter = new GroupFilter();
  }

  /** Gives each group its state. */
  async assign(lists: readonly (readonly PackedGroup[])[]): Promise<void> {
    const missing = new Map<string, PackedGroup[]>();
    const passing = new PassingStates();
    for (const groups of lists) {
      for (const group of groups) {
        if (this.#isNew(group)) {
          group.state = emptyState();
          if (++this.#newInARow > NEW_MAX) passing.add(group);
          else this.#cache.set(group.key, group.state);
          continue;
        }
        const state = passing.get(group.key) ?? this.#cache.get(group.key);
        if (state !== undefined) {
          group.state = state;
          continue;
        }
        this.#newInARow = 0;
        const others = missing.get(group.key);
        if (others === undefined) missing.set(group.key, [group]);
        else others.push(group);
      }
    }
    if (missing.size > 0) await this.#read(missing);
  }

  /** Whether it is known without reading that nothing is stored of a group. */
  isAbsent(seed: number): boolean {
    return this.#filter.isComplete && !this.#filter.has(seed);
  }

  /** The same of a group that is to be written; asked once of each. */
  #isNew({ seed }: PackedGroup): boolean {
    const isAbsent = this.isAbsent(seed);
    if (isAbsent) this.#filter.add(seed);
    return isAbsent;
  }

  async #read(missing: ReadonlyMap<string, readonly PackedGroup[]>): Promise<void> {
    await this.#engine.journals.ready();
    for (const slots of await readSlots(this.#engine, [...missing.keys()])) {
      const { key } = slots;
      const groups = missing.get(key) ?? [];
      const state = this.#wholeState(slots) ?? (await this.#repair(key, groups[0]?.id ?? key)) ?? emptyState();
      this.#cache.set(key, state);
      for (const group of groups) {
        group.state = state;
        this.#filter.add(group.seed);
      }
    }
  }

  /** The state of a group of which whole records, and no journal behind them, tell all. */
  #wholeState(slots: SlotValues): GroupState | undefined {
    if (slots.values[0] === undefined && slots.values[1] === undefined) return emptyState();
    const records = wholeRecords(slots);
    if (records === undefined) return undefined;
    const { newest, other } = records;
    const last = this.#engine.journals.last(journalLog(newest.key, newest.epoch));
    return last < newest.seq ? stateOf(newest, other) : undefined;
  }
}

/**
 * New groups in a row whose states are kept: more of them are an import, which goes on to others before it comes back to
 * these.
 */
const NEW_MAX = 10_000;

/** States that are needed within one commit only: mostly no group comes twice, and none is looked for. */
class PassingStates {
  readonly #groups: PackedGroup[] = [];
  readonly #index = new Map<string, GroupState>();

  add(group: PackedGroup): void {
    this.#groups.push(group);
  }

  get(key: string): GroupState | undefined {
    for (const group of this.#groups.splice(0)) this.#index.set(group.key, group.state);
    return this.#index.get(key);
  }
}

/** From this many on, states that were not used for a while are dropped; each takes about 400 bytes. */
const STATES_MAX = 20_000;

/** States by group key, in two ages: when the young are too many they become the old, and the old ones go. */
class StateCache {
  #young = new Map<string, GroupState>();
  #old = new Map<string, GroupState>();

  get(key: string): GroupState | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.#young.set(key, old);
    return old;
  }

  set(key: string, state: GroupState): void {
    this.#young.set(key, state);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  /** Drops what was not used for a while. Between two calls nothing goes. */
  trim(): void {
    if (this.#young.size < STATES_MAX / 2) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
