import { type Mark, NO_MARK, type RowFields, type StoredRow } from "./catalogue-row.ts";
import { encodeMeta } from "./group-meta.ts";

/**
 * What the store must know of a group to write to it: its row without the meta data, and where its journal stands.
 * Kept in memory for groups in use, and read anew when it was dropped.
 */
export interface GroupState extends RowFields {
  epoch: number;
  snapshotBytes: number;
  snapshotAt: number;
  generations: number;
  newest: Mark;
  previous: Mark;
  logStart: number;
  degraded: boolean;
  /** The encoded meta data, of degraded groups only: their row is written once more when they are repaired. */
  meta: Uint8Array | undefined;
  /** Number of the next journal record. */
  nextSeq: number;
  /** Position of the next event. */
  nextPosition: number;
  /** Positions of the records from `newest.seq` on. */
  tail: readonly number[];
}

const NO_TAIL: readonly number[] = [];

/** The state of a group that begins an epoch. */
export function emptyState(epoch: number): GroupState {
  return {
    snapshotBytes: 0,
    snapshotAt: 0,
    degraded: false,
    generations: 0,
    newest: NO_MARK,
    previous: NO_MARK,
    logStart: 0,
    epoch,
    meta: undefined,
    nextSeq: 0,
    nextPosition: 0,
    tail: NO_TAIL,
  };
}

/** The state of a group whose journal holds nothing behind its newest snapshot. */
export function stateOf(row: StoredRow): GroupState {
  const { snapshotBytes, snapshotAt, degraded, generations, newest, previous, logStart } = row;
  return {
    snapshotBytes,
    snapshotAt,
    degraded,
    generations,
    newest: newest.generation === 0 ? NO_MARK : newest,
    previous: previous.generation === 0 ? NO_MARK : previous,
    logStart,
    epoch: row.meta.epoch,
    meta: degraded ? encodeMeta(row.meta) : undefined,
    nextSeq: newest.seq,
    nextPosition: newest.position,
    tail: NO_TAIL,
  };
}

/** Takes note of a record at the journal's end. */
export function appendTo(state: GroupState, position: number, count: number): void {
  // Most groups have no tail most of the time, so the empty one is shared.
  if (state.tail.length === 0) state.tail = [position];
  else (state.tail as number[]).push(position);
  state.nextSeq++;
  state.nextPosition = Math.max(state.nextPosition, position + count);
}

/** The mark of a snapshot at `position`; undefined when the journal does not reach from there to its end. */
export function markAt(state: GroupState, position: number): Mark | undefined {
  const { newest } = state;
  const generation = state.generations + 1;
  if (position < newest.position || position > state.nextPosition) return undefined;
  if (position === state.nextPosition) return { generation, position, seq: state.nextSeq };
  let index = state.tail.findIndex((start) => start >= position);
  // The position lies within a record: replay begins with that record, whose first events the snapshot has.
  if (index === -1) index = state.tail.length - 1;
  else if (state.tail[index] !== position && index > 0) index--;
  return { generation, position, seq: newest.seq + index };
}

/** From this many on, states that were not used for a while are dropped; each takes about 400 bytes. */
const STATES_MAX = 20_000;

/** States by group key, in two ages: when the young are too many they become the old, and the old ones go. */
export class StateCache {
  #young = new Map<string, GroupState>();
  #old = new Map<string, GroupState>();

  get(key: string): GroupState | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, state: GroupState): void {
    this.#young.set(key, state);
    if (this.#young.size < STATES_MAX / 2) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
