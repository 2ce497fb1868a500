import type { Op } from "./backend.ts";
import { emptyRow, encodeRow, type StoredRow } from "./catalogue-row.ts";
import { formatGroupId, type GroupId } from "./group-id.ts";
import type { Meta } from "./group-meta.ts";
import { type GroupState, markAt, stateOf } from "./group-state.ts";
import type { GroupMeta } from "./group-storage.ts";
import { encodeEntry } from "./journal-entry.ts";
import type { PackedBody } from "./packed-body.ts";
import { encodeSnapshot } from "./snapshot-record.ts";
import { copyKey, journalLog, rowKey, snapshotKey, sweepKey } from "./store-keys.ts";

/** A commit with its ids encoded and its bodies compressed. */
export interface PackedCommit {
  readonly created: readonly Packed<{ readonly meta: Meta }>[];
  readonly records: readonly Packed<{
    readonly epoch: number;
    readonly position: number;
    readonly count: number;
    readonly body: PackedBody;
  }>[];
  readonly snapshots: readonly Packed<{
    readonly meta: Meta;
    readonly position: number;
    readonly body: PackedBody;
  }>[];
  readonly repaired: readonly Packed<object>[];
  readonly deletions: readonly Packed<{ readonly meta: Meta }>[];
}

type Packed<Item> = Item & { readonly id: GroupId; readonly key: string };

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
    for (const { key, meta } of commit.created) this.#begin(key, meta);
    for (const record of commit.records) this.#append(record);
    for (const snapshot of commit.snapshots) this.#snapshot(snapshot);
    for (const { key } of commit.repaired) this.#repaired(key);
    for (const { key, meta } of commit.deletions) this.#begin(key, meta);
  }

  #state(key: string): GroupState | undefined {
    return this.#fresh.get(key) ?? this.#states.get(key);
  }

  /** Starts an epoch, a living or a deleted one; nothing happens when the stored epoch is as high. */
  #begin(key: string, meta: Meta): GroupState | undefined {
    const before = this.#state(key);
    if (before !== undefined && before.row.meta.epoch >= meta.epoch) return undefined;
    const state = stateOf(emptyRow(meta));
    this.#fresh.set(key, state);
    // Removals come last, everywhere: should an engine tear a batch after all, it tears off what is least missed.
    this.#putRow(key, state.row, true);
    if (before !== undefined) this.#drop(key, before);
    return state;
  }

  #drop(key: string, state: GroupState): void {
    const { row } = state;
    const log = journalLog(key, row.meta.epoch);
    if (row.degraded || state.nextSeq - row.logStart > SWEEP_INLINE_MAX) {
      this.ops.push({ op: "put", key: sweepKey(key), value: new Uint8Array([1]) });
      this.sweeps.push(key);
      return;
    }
    for (const { generation } of [row.newest, row.previous]) {
      if (generation > 0) this.ops.push({ op: "del", key: snapshotKey(key, row.meta.epoch, generation) });
    }
    if (state.nextSeq > row.logStart) {
      this.ops.push({ op: "truncate", log, from: row.logStart, upto: state.nextSeq });
    }
  }

  #append(record: PackedCommit["records"][number]): void {
    const { id, key, epoch, position, count } = record;
    const state = this.#state(key);
    if (state === undefined || state.row.meta.epoch < epoch) {
      throw new TypeError(`${formatGroupId(id)} has no epoch ${epoch} yet: commit it as created first`);
    }
    if (state.row.meta.epoch > epoch) return;
    if (position !== state.nextPosition) {
      throw new TypeError(
        `a record of ${formatGroupId(id)} is at ${position}, the journal ends at ${state.nextPosition}`,
      );
    }
    const log = journalLog(key, epoch);
    this.ops.push({ op: "append", log, seq: state.nextSeq, value: encodeEntry(record, log, state.nextSeq) });
    state.tail.push(position);
    state.nextSeq++;
    state.nextPosition += count;
  }

  #snapshot(snapshot: PackedCommit["snapshots"][number]): void {
    const { id, key, meta, position, body } = snapshot;
    const known = this.#state(key);
    const state = known === undefined || known.row.meta.epoch < meta.epoch ? this.#begin(key, meta) : known;
    if (state === undefined || state.row.meta.epoch > meta.epoch) return;
    const { row } = state;
    const mark = markAt(state, position, row.generations + 1);
    if (mark === undefined) {
      const range = `${row.newest.position} to ${state.nextPosition}`;
      throw new TypeError(`a snapshot of ${formatGroupId(id)} is at ${position}, the journal covers ${range}`);
    }
    const at = snapshotKey(key, meta.epoch, mark.generation);
    const bytes = encodeSnapshot({ meta, mark, takenAt: this.#now, body }, at);
    this.ops.push({ op: "put", key: at, value: bytes });
    const previous = row.newest;
    // The journal reaches back to the previous generation, so that a rotten newest one loses nothing.
    const logStart = previous.generation > 0 ? previous.seq : row.logStart;
    state.tail.splice(0, mark.seq - row.newest.seq);
    const sizes = { snapshotBytes: bytes.length, snapshotAt: this.#now, generations: mark.generation };
    state.row = { ...row, meta, ...sizes, newest: mark, previous, logStart };
    this.#putRow(key, state.row, false);
    this.#dropOutlived(key, row, logStart);
  }

  /** Removes what a new snapshot makes superfluous, given the row before it. */
  #dropOutlived(key: string, row: StoredRow, logStart: number): void {
    const { epoch } = row.meta;
    if (row.previous.generation > 0) {
      this.ops.push({ op: "del", key: snapshotKey(key, epoch, row.previous.generation) });
    }
    if (logStart > row.logStart) {
      this.ops.push({ op: "truncate", log: journalLog(key, epoch), from: row.logStart, upto: logStart });
    }
    const second = row.newest.generation > 0 && row.previous.generation === 0;
    if (second) this.ops.push({ op: "del", key: copyKey(key) });
  }

  #repaired(key: string): void {
    const state = this.#state(key);
    if (state === undefined || !state.row.degraded) return;
    state.row = { ...state.row, degraded: false };
    this.#putRow(key, state.row, false);
  }

  /** @param copy also where a rotten row is rebuilt from while there are no snapshots to do that */
  #putRow(key: string, row: StoredRow, copy: boolean): void {
    this.ops.push({ op: "put", key: rowKey(key), value: encodeRow(row, rowKey(key)) });
    if (copy) this.ops.push({ op: "put", key: copyKey(key), value: encodeRow(row, copyKey(key)) });
  }
}

/** {@link GroupMeta} without its id. */
export function metaOf(group: GroupMeta): Meta {
  const { type, epoch, vector, frontier, time, digest } = group;
  // The caller may go on changing its vector.
  return { type, epoch, vector: vector.clone(), frontier: [...frontier], time, digest };
}
