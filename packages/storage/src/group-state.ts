import { type GroupRecord, type Mark, markOf } from "./group-record.ts";

/**
 * What the store must know of a group to write to it: which generations its two records hold, and where its journal
 * ends. Kept in memory for groups in use, and read anew when it was dropped.
 */
export interface GroupState {
  /** 0 when nothing is stored of the group. */
  epoch: number;
  degraded: boolean;
  newest: Mark;
  /** The group's other record. The journal begins at its sequence number. */
  previous: Mark;
  /** The newest record, of degraded groups only: it is written once more when they are repaired. */
  record: Uint8Array | undefined;
  /** Number of the next journal record. */
  nextSeq: number;
  /** Position of the next event. */
  nextPosition: number;
  /** Positions of the records from `newest.seq` on. */
  tail: readonly number[];
}

/** The journal's start: what a group has of which no snapshot was taken. */
const NO_MARK: Mark = { generation: 0, position: 0, seq: 0, isApart: false };
const NO_TAIL: readonly number[] = [];

/** The state of a group of which nothing is stored. */
export function emptyState(): GroupState {
  return {
    epoch: 0,
    degraded: false,
    newest: NO_MARK,
    previous: NO_MARK,
    record: undefined,
    nextSeq: 0,
    nextPosition: 0,
    tail: NO_TAIL,
  };
}

/** Stands for a state that was not read yet. */
export const UNKNOWN: GroupState = Object.freeze({ ...emptyState(), epoch: Number.POSITIVE_INFINITY });

/** Begins an epoch: what was stored of the one before is gone. */
export function beginEpoch(state: GroupState, epoch: number): void {
  state.epoch = epoch;
  state.degraded = false;
  state.newest = NO_MARK;
  state.previous = NO_MARK;
  state.record = undefined;
  state.nextSeq = 0;
  state.nextPosition = 0;
  state.tail = NO_TAIL;
}

/**
 * The state of a group whose journal holds nothing behind its newest snapshot.
 *
 * @param other the group's other record, when it is of the same epoch
 */
export function stateOf(record: GroupRecord, other: Uint8Array | undefined): GroupState {
  const newest = markOf(record.bytes);
  return {
    epoch: record.epoch,
    degraded: record.degraded,
    newest,
    previous: other === undefined ? { ...NO_MARK, seq: newest.seq } : markOf(other),
    record: record.degraded ? record.bytes : undefined,
    nextSeq: newest.seq,
    nextPosition: newest.position,
    tail: NO_TAIL,
  };
}

/** Whether the journal goes on behind the newest record. */
export function hasTail({ tail }: GroupState): boolean {
  return tail.length > 0;
}

/** Takes note of a record at the journal's end. */
export function appendTo(state: GroupState, position: number, count: number): void {
  // Most groups have no tail most of the time, so the empty one is shared.
  if (state.tail.length === 0) state.tail = [position];
  else (state.tail as number[]).push(position);
  state.nextSeq++;
  state.nextPosition = Math.max(state.nextPosition, position + count);
}

/** Where a snapshot at `position` stands; undefined when the journal does not reach from there to its end. */
export function markAt(state: GroupState, position: number, isApart: boolean): Mark | undefined {
  const { newest, nextSeq, nextPosition, tail } = state;
  const generation = newest.generation + 1;
  if (position === nextPosition) return { generation, position, seq: nextSeq, isApart };
  if (position < newest.position || position > nextPosition) return undefined;
  let index = tail.findIndex((start) => start >= position);
  // The position lies within a record: replay begins with that record, whose first events the snapshot has.
  if (index === -1) index = tail.length - 1;
  else if (tail[index] !== position && index > 0) index--;
  return { generation, position, seq: newest.seq + index, isApart };
}
