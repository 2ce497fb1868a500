import type { Op } from "./backend.ts";
import { encodeRowFields } from "./catalogue-row.ts";
import { formatGroupId, type GroupId } from "./group-id.ts";
import { appendTo, emptyState, type GroupState, markAt } from "./group-state.ts";
import { encodeEntry } from "./journal-entry.ts";
import type { PackedBody } from "./packed-body.ts";
import { encodeSnapshot } from "./snapshot-record.ts";
import { copyKey, journalLog, rowKey, snapshotKey, sweepKey } from "./store-keys.ts";

/** A commit with its ids and meta data encoded, and its bodies compressed. */
export interface PackedCommit {
  readonly created: readonly PackedEpoch[];
  readonly records: readonly PackedRecord[];
  readonly snapshots: readonly PackedSnapshot[];
  readonly repaired: readonly PackedGroup[];
  readonly deletions: readonly PackedEpoch[];
}

export interface PackedGroup {
  readonly id: GroupId;
  readonly key: string;
}

export interface PackedEpoch extends PackedGroup {
  readonly epoch: number;
  /** As `encodeMeta` makes it. */
  readonly meta: Uint8Array;
}

export interface PackedRecord extends PackedGroup {
  readonly epoch: number;
  readonly position: number;
  readonly count: number;
  readonly body: PackedBody;
}

export interface PackedSnapshot extends PackedEpoch {
  readonly position: number;
  readonly body: PackedBody;
}

/** Journals with more records than this are swept after the commit of a deletion, not within it. */
const SWEEP_INLINE_MAX = 1024;

/** Turns commits into operations, in order, and moves the groups' states on. */
export class CommitPlanner {
  readonly ops: Op[] = [];
  /** Groups with leftovers of lower epochs. */
  readonly sweeps: string[] = [];
  readonly #states: ReadonlyMap<string, GroupState | undefined>;
  readonly #now: number;
  readonly #fresh = new Map<string, GroupState>();

  /** @param states of every group in the commits; undefined where nothing is stored; changed in place */
  constructor(states: ReadonlyMap<string, GroupState | undefined>, now: number) {
    this.#states = states;
    this.#now = now;
  }

  /** The states as they are once the operations are written. */
  *states(): Iterable<[string, GroupState]> {
    for (const [key, state] of this.#states) {
      const current = this.#fresh.get(key) ?? state;
      if (current !== undefined) yield [key, current];
    }
  }

  /** Throws `TypeError` for a commit that does not continue what is stored; the states are then of no use. */
  plan(commit: PackedCommit): void {
    for (const group of commit.created) this.#begin(group);
    for (const record of commit.records) this.#append(record);
    for (const snapshot of commit.snapshots) this.#snapshot(snapshot);
    for (const { key } of commit.repaired) this.#repaired(key);
    for (const group of commit.deletions) this.#begin(group);
  }

  #state(key: string): GroupState | undefined {
    return this.#fresh.get(key) ?? this.#states.get(key);
  }

  /** Starts an epoch, a living or a deleted one; nothing happens when the stored epoch is as high. */
  #begin({ key, epoch, meta }: PackedEpoch, rowFollows = false): GroupState | undefined {
    const before = this.#state(key);
    if (before !== undefined && before.epoch >= epoch) return undefined;
    const state = emptyState(epoch);
    this.#fresh.set(key, state);
    // Removals come last, everywhere: should an engine tear a batch after all, it tears off what is least missed.
    if (!rowFollows) this.#putRow(key, state, meta);
    // Where a rotten row is rebuilt from as long as there are no two snapshots to do that.
    this.ops.push({ op: "put", key: copyKey(key), value: encodeRowFields(state, meta, copyKey(key)) });
    if (before !== undefined) this.#drop(key, before);
    return state;
  }

  #drop(key: string, state: GroupState): void {
    const { epoch, logStart, nextSeq } = state;
    if (state.degraded || nextSeq - logStart > SWEEP_INLINE_MAX) {
      this.ops.push({ op: "put", key: sweepKey(key), value: new Uint8Array([1]) });
      this.sweeps.push(key);
      return;
    }
    for (const { generation } of [state.newest, state.previous]) {
      if (generation > 0) this.ops.push({ op: "del", key: snapshotKey(key, epoch, generation) });
    }
    if (nextSeq > logStart) {
      this.ops.push({ op: "truncate", log: journalLog(key, epoch), from: logStart, upto: nextSeq });
    }
  }

  #append(record: PackedRecord): void {
    const { id, key, epoch, position, count } = record;
    const state = this.#state(key);
    if (state === undefined || state.epoch < epoch) {
      throw new TypeError(`${formatGroupId(id)} has no epoch ${epoch} yet: commit it as created first`);
    }
    if (state.epoch > epoch) return;
    if (position !== state.nextPosition) {
      const end = state.nextPosition;
      throw new TypeError(`a record of ${formatGroupId(id)} is at ${position}, the journal ends at ${end}`);
    }
    const log = journalLog(key, epoch);
    this.ops.push({ op: "append", log, seq: state.nextSeq, value: encodeEntry(record, log, state.nextSeq) });
    appendTo(state, position, count);
  }

  #snapshot(snapshot: PackedSnapshot): void {
    const { id, key, epoch, meta, position, body } = snapshot;
    const known = this.#state(key);
    const state = known === undefined || known.epoch < epoch ? this.#begin(snapshot, true) : known;
    if (state === undefined || state.epoch > epoch) return;
    const mark = markAt(state, position);
    if (mark === undefined) {
      const range = `${state.newest.position} to ${state.nextPosition}`;
      throw new TypeError(`a snapshot of ${formatGroupId(id)} is at ${position}, the journal covers ${range}`);
    }
    const at = snapshotKey(key, epoch, mark.generation);
    const bytes = encodeSnapshot({ mark, takenAt: this.#now, body }, meta, at);
    this.ops.push({ op: "put", key: at, value: bytes });
    const { newest, previous, logStart } = state;
    if (state.tail.length > 0) state.tail = state.tail.slice(mark.seq - newest.seq);
    state.snapshotBytes = bytes.length;
    state.snapshotAt = this.#now;
    state.generations = mark.generation;
    state.newest = mark;
    state.previous = newest;
    // The journal reaches back to the previous generation, so that a rotten newest one loses nothing.
    if (newest.generation > 0) state.logStart = newest.seq;
    if (state.degraded) state.meta = meta;
    this.#putRow(key, state, meta);
    if (previous.generation > 0) this.ops.push({ op: "del", key: snapshotKey(key, epoch, previous.generation) });
    if (state.logStart > logStart) {
      this.ops.push({ op: "truncate", log: journalLog(key, epoch), from: logStart, upto: state.logStart });
    }
    if (newest.generation > 0 && previous.generation === 0) this.ops.push({ op: "del", key: copyKey(key) });
  }

  #repaired(key: string): void {
    const state = this.#state(key);
    if (state?.meta === undefined) return;
    state.degraded = false;
    this.#putRow(key, state, state.meta);
    state.meta = undefined;
  }

  #putRow(key: string, state: GroupState, meta: Uint8Array): void {
    this.ops.push({ op: "put", key: rowKey(key), value: encodeRowFields(state, meta, rowKey(key)) });
  }
}
