import { nextTurn } from "#platform";
import type { Op } from "./backend.ts";
import { formatGroupId } from "./group-id.ts";
import { apartSeed, emptyRecord, finishRecord, slotOf, withDegraded } from "./group-record.ts";
import { appendTo, beginEpoch, type GroupState, hasTail, markAt } from "./group-state.ts";
import { encodeEntry } from "./journal-entry.ts";
import type { PackedCommit, PackedEntry, PackedEpoch, PackedGroup, PackedSnapshot } from "./pack-commit.ts";
import { apartKey, journalLog, recordKey, SLOTS, sweepKey } from "./store-keys.ts";

/** Journals with more records than this are swept after the commit of a deletion, not within it. */
const SWEEP_INLINE_MAX = 1024;

/** Snapshots planned in one turn of the event loop: about a millisecond's worth. */
const SLICE_SNAPSHOTS = 500;

/** Turns commits into operations, in order, and moves the states of their groups on. */
export class CommitPlanner {
  readonly ops: Op[] = [];
  /** Groups with leftovers of lower epochs. */
  readonly sweeps: string[] = [];
  /** How many more groups have a journal behind their newest record than before. */
  tails = 0;
  readonly #now: number;

  constructor(now: number) {
    this.#now = now;
  }

  /**
   * Throws `TypeError` for a commit that does not continue what is stored; the states are then of no use. Lets the event
   * loop turn between the slices of a large one: nothing else may use the states meanwhile.
   */
  async plan(commit: PackedCommit): Promise<void> {
    for (const { key, value } of commit.superseded) this.ops.push({ op: "put", key, value });
    for (const group of commit.created) this.#begin(group);
    for (const record of commit.records) this.#append(record);
    for (let from = 0; from < commit.snapshots.length; from += SLICE_SNAPSHOTS) {
      if (from > 0) await nextTurn();
      for (const snapshot of commit.snapshots.slice(from, from + SLICE_SNAPSHOTS)) this.#snapshot(snapshot);
    }
    for (const group of commit.repaired) this.#repaired(group);
    for (const group of commit.deletions) this.#begin(group);
  }

  /** Starts an epoch, a living or a deleted one; nothing happens when the stored epoch is as high. */
  #begin({ key, seed, state, epoch, record }: PackedEpoch): void {
    if (state.epoch >= epoch) return;
    finishRecord(record, { generation: 0, seq: 0, takenAt: 0, isDegraded: false }, seed);
    for (const slot of SLOTS) this.#put(recordKey(key, slot), record);
    // Removals come last, everywhere: should an engine tear a batch after all, it tears off what is least missed.
    this.#drop(key, state);
    if (hasTail(state)) this.tails--;
    beginEpoch(state, epoch);
  }

  #put(key: string, value: Uint8Array): void {
    this.ops.push({ op: "put", key, value });
  }

  /** Removes what an epoch has beside the two records that those of the next one replace. */
  #drop(key: string, state: GroupState): void {
    const { epoch, newest, previous, nextSeq } = state;
    if (state.degraded || nextSeq - previous.seq > SWEEP_INLINE_MAX) {
      this.#put(sweepKey(key), new Uint8Array([1]));
      this.sweeps.push(key);
      return;
    }
    for (const { generation, isApart } of [newest, previous]) {
      if (isApart) this.ops.push({ op: "del", key: apartKey(key, epoch, slotOf(generation)) });
    }
    if (nextSeq > previous.seq) {
      this.ops.push({ op: "truncate", log: journalLog(key, epoch), from: previous.seq, upto: nextSeq });
    }
  }

  #append(record: PackedEntry): void {
    const { id, key, state, epoch, position, count } = record;
    if (state.epoch < epoch) {
      throw new TypeError(`${formatGroupId(id)} has no epoch ${epoch} yet: commit it as created first`);
    }
    if (state.epoch > epoch) return;
    if (position !== state.nextPosition) {
      const end = state.nextPosition;
      throw new TypeError(`a record of ${formatGroupId(id)} is at ${position}, the journal ends at ${end}`);
    }
    const log = journalLog(key, epoch);
    this.ops.push({ op: "append", log, seq: state.nextSeq, value: encodeEntry(record, log, state.nextSeq) });
    if (!hasTail(state)) this.tails++;
    appendTo(state, position, count);
  }

  #snapshot(snapshot: PackedSnapshot): void {
    const { key, seed, state, epoch } = snapshot;
    if (state.epoch > epoch) return;
    if (state.epoch === epoch) {
      this.#next(snapshot, state);
      return;
    }
    const before = state.epoch === 0 ? undefined : { ...state };
    if (hasTail(state)) this.tails--;
    beginEpoch(state, epoch);
    this.#next(snapshot, state);
    // The other slot says what there is, should the snapshot rot.
    this.#put(recordKey(key, 0), emptyRecord(seed, snapshot, { seq: 0, isDegraded: false }));
    if (before !== undefined) this.#drop(key, before);
  }

  /** Puts a snapshot into the slot of the older one. */
  #next({ id, key, seed, epoch, position, record, apart }: PackedSnapshot, state: GroupState): void {
    const mark = markAt(state, position, apart !== undefined);
    if (mark === undefined) {
      const range = `${state.newest.position} to ${state.nextPosition}`;
      throw new TypeError(`a snapshot of ${formatGroupId(id)} is at ${position}, the journal covers ${range}`);
    }
    const { newest, previous } = state;
    const slot = slotOf(mark.generation);
    const head = { generation: mark.generation, seq: mark.seq, takenAt: this.#now, isDegraded: state.degraded };
    finishRecord(record, head, seed);
    if (apart !== undefined) {
      finishRecord(apart, { ...head, isDegraded: false }, apartSeed(key));
      this.#put(apartKey(key, epoch, slot), apart);
    }
    this.#put(recordKey(key, slot), record);
    if (previous.isApart && apart === undefined) this.ops.push({ op: "del", key: apartKey(key, epoch, slot) });
    // The journal reaches back to the generation before, so that a rotten newest one loses nothing.
    if (newest.seq > previous.seq) {
      this.ops.push({ op: "truncate", log: journalLog(key, epoch), from: previous.seq, upto: newest.seq });
    }
    if (state.tail.length > 0) {
      state.tail = state.tail.slice(mark.seq - newest.seq);
      if (!hasTail(state)) this.tails--;
    }
    state.newest = mark;
    state.previous = newest;
    if (state.degraded) state.record = record;
  }

  #repaired({ key, state }: PackedGroup): void {
    if (state.record === undefined) return;
    const record = withDegraded(state.record, key, false);
    const { generation } = state.newest;
    for (const slot of SLOTS) {
      if (generation === 0 || slot === slotOf(generation)) this.#put(recordKey(key, slot), record);
    }
    state.degraded = false;
    state.record = undefined;
  }
}
