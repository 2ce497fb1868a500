import type { Mark, StoredRow } from "./catalogue-row.ts";

/**
 * What the store must know of a group to write to it: its row, and where its journal stands. Kept in memory for
 * groups in use, and read anew when it was dropped.
 */
export interface GroupState {
  row: StoredRow;
  /** Number of the next journal record. */
  nextSeq: number;
  /** Position of the next event. */
  nextPosition: number;
  /** Positions of the records from `row.newest.seq` on. */
  tail: number[];
}

/** The state of a group whose journal holds nothing behind its newest snapshot. */
export function stateOf(row: StoredRow): GroupState {
  return { row, nextSeq: row.newest.seq, nextPosition: row.newest.position, tail: [] };
}

/** The mark of a snapshot at `position`; undefined when the journal does not reach from there to its end. */
export function markAt(state: GroupState, position: number, generation: number): Mark | undefined {
  const { newest } = state.row;
  if (position < newest.position || position > state.nextPosition) return undefined;
  if (position === state.nextPosition) return { generation, position, seq: state.nextSeq };
  let index = state.tail.findIndex((start) => start >= position);
  // The position lies within a record: replay begins with that record, whose first events the snapshot has.
  if (index === -1) index = state.tail.length - 1;
  else if (state.tail[index] !== position && index > 0) index--;
  return { generation, position, seq: newest.seq + index };
}

/** At most this many states stay in memory: about 200 bytes each. */
const STATES_MAX = 100_000;

/** States by group key; the least recently used ones are dropped. */
export class StateCache {
  readonly #states = new Map<string, GroupState>();

  get(key: string): GroupState | undefined {
    const state = this.#states.get(key);
    if (state !== undefined && this.#states.size > STATES_MAX / 2) {
      this.#states.delete(key);
      this.#states.set(key, state);
    }
    return state;
  }

  set(key: string, state: GroupState): void {
    this.#states.set(key, state);
    if (this.#states.size <= STATES_MAX) return;
    for (const oldest of this.#states.keys()) {
      this.#states.delete(oldest);
      return;
    }
  }

  delete(key: string): void {
    this.#states.delete(key);
  }

  clear(): void {
    this.#states.clear();
  }
}
