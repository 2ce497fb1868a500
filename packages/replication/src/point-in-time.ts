/**
 * A group as it was at a time, from what is stored of it: a snapshot that holds nothing later, and those events of the
 * journal behind it that are not later. Events carry hybrid timestamps, which rise along causality, so what is left is
 * a state that every replica which knew exactly those events had. Nothing here needs the code of the group's type.
 */
import { type HybridTime, Reader, VersionVector, Writer, hybridTime, unixMs } from "@coppice/crdt";
import {
  type BackedUp,
  type Digest,
  type ExportedGroup,
  type GroupHistory,
  type GroupId,
  type GroupMeta,
  type GroupSnapshot,
  encodeGroupId,
  encodeGroupPrefix,
  formatGroupId,
  readBackup,
  writeExport,
} from "@coppice/storage";
import { groupSeed, vectorDigest } from "./core/digest.ts";
import { ReplicationError } from "./error.ts";
import { Run, decodeRuns, encodeRuns } from "./core/run.ts";
import { writeDependencies } from "./core/run-builder.ts";

/** Consecutive events of a journal. */
export interface PastRecord {
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** A group as it was. */
export type PointInTime =
  | {
      readonly kind: "state";
      readonly snapshot: GroupSnapshot | undefined;
      /** Events at the start of the first record that the snapshot holds already. */
      readonly repeated: number;
      readonly records: readonly PastRecord[];
    }
  /** It did not exist yet. */
  | { readonly kind: "absent" }
  /** The journal does not reach so far back; it does from `sinceMs` on. */
  | { readonly kind: "unreachable"; readonly sinceMs: number };

/** A group of a backup, and whether it can be restored as it was. */
export interface RestoreStep {
  readonly id: GroupId;
  /** `deleted`: when its tombstone was made is not known, so it stays one. */
  readonly kind: PointInTime["kind"] | "deleted";
  /** From when on it can be restored, in Unix milliseconds; 0 for all its life. */
  readonly sinceMs: number;
}

export interface RestoreOptions {
  /** The time, in Unix milliseconds: all events up to the end of that millisecond. */
  readonly at: number;
  /** Only groups that match (see `encodeGroupPrefix`). */
  readonly prefix?: GroupId;
}

/** What a restore of a backup would find of each group. Fails with `CORRUPT` or `MALFORMED`. */
export async function* planRestore(
  chunks: AsyncIterable<Uint8Array>,
  { at, prefix }: RestoreOptions,
): AsyncGenerator<RestoreStep> {
  for await (const group of matching(chunks, prefix)) {
    if (group.kind === "deleted") yield { id: group.meta.id, kind: "deleted", sinceMs: 0 };
    else {
      const { history } = group;
      yield { id: history.meta.id, kind: groupAt(history, at).kind, sinceMs: reachOf(history) };
    }
  }
}

/**
 * The groups of a backup as they were at a time, as an export. Import it with `renew: { digest: digestOf }`, which begins
 * a new epoch for each, so that peers take it instead of adding what they know beyond it. Groups that did not exist yet,
 * and tombstones, are left out.
 *
 * Fails with `OUT_OF_REACH` at a group whose journal does not reach so far back, unless `skipUnreachable`.
 */
export async function* restoreAt(
  chunks: AsyncIterable<Uint8Array>,
  { at, prefix, skipUnreachable = false }: RestoreOptions & { readonly skipUnreachable?: boolean },
): AsyncGenerator<Uint8Array> {
  yield* writeExport(restored(matching(chunks, prefix), at, skipUnreachable));
}

async function* restored(
  groups: AsyncIterable<BackedUp>,
  atMs: number,
  skipUnreachable: boolean,
): AsyncGenerator<ExportedGroup> {
  for await (const group of groups) {
    if (group.kind === "deleted") continue;
    const { history } = group;
    const found = groupAt(history, atMs);
    if (found.kind === "unreachable" && !skipUnreachable) throw outOfReach(history.meta.id, atMs, found.sinceMs);
    if (found.kind !== "state") continue;
    const { snapshot, repeated, records } = found;
    const { id, type, epoch } = history.meta;
    const { vector, frontier, time } = snapshot ?? { vector: new VersionVector(), frontier: [], time: 0 };
    const meta = { id, type, epoch, vector, frontier, time };
    yield { meta: { ...meta, digest: digestOf(meta) }, degraded: history.degraded, snapshot, repeated, records };
  }
}

function outOfReach(id: GroupId, atMs: number, sinceMs: number): ReplicationError {
  const since = new Date(sinceMs).toISOString();
  const message = `${formatGroupId(id)} cannot be restored as of ${new Date(atMs).toISOString()}: the journal in this backup reaches back to ${since}`;
  return new ReplicationError("OUT_OF_REACH", `${message}; use a backup made soon after that time, or a later time`);
}

async function* matching(chunks: AsyncIterable<Uint8Array>, prefix: GroupId | undefined): AsyncGenerator<BackedUp> {
  const start = prefix === undefined ? "" : encodeGroupPrefix(prefix);
  for await (const group of readBackup(chunks)) {
    const { id } = group.kind === "deleted" ? group.meta : group.history.meta;
    if (encodeGroupId(id).startsWith(start)) yield group;
  }
}

/** The digest of a group's meta data: what an import needs that begins a new epoch. */
export function digestOf(meta: Omit<GroupMeta, "digest">): Digest {
  return vectorDigest(groupSeed(encodeGroupId(meta.id), meta.type, meta.epoch), meta.vector);
}

/** From when on a group can be restored, in Unix milliseconds; 0 for all its life. Fails with `MALFORMED`. */
export function reachOf(history: GroupHistory): number {
  const bases = basesOf(history);
  if (bases.some(({ snapshot }) => snapshot === undefined)) return history.meta.epoch === 1 ? 0 : bornMs(history);
  return Math.min(...bases.map(({ time }) => unixMs(time)));
}

/** The group as it was at the end of a millisecond. Fails with `MALFORMED` where the journal is damaged. */
export function groupAt(history: GroupHistory, atMs: number): PointInTime {
  const until = hybridTime(atMs + 1) - 1;
  const base = basesOf(history).find(({ time }) => time <= until);
  if (base === undefined) return { kind: "unreachable", sinceMs: reachOf(history) };
  const { snapshot } = base;
  const first = history.records[base.firstRecord];
  const records = history.records.slice(base.firstRecord).flatMap(({ bytes }) => cut(bytes, until));
  if (snapshot === undefined && records.length === 0) {
    // What an earlier epoch held went with its deletion.
    return history.meta.epoch === 1 ? { kind: "absent" } : { kind: "unreachable", sinceMs: bornMs(history) };
  }
  const repeated = snapshot === undefined || first === undefined ? 0 : snapshot.journalPosition - first.position;
  return { kind: "state", snapshot, repeated: records.length === 0 ? 0 : Math.max(0, repeated), records };
}

/** Where a replay can begin. */
interface Base {
  readonly snapshot: GroupSnapshot | undefined;
  /** The highest timestamp of what it holds. */
  readonly time: HybridTime;
  /** Index of the first record to replay. */
  readonly firstRecord: number;
}

/** Where a replay can begin, the latest first. */
function basesOf(history: GroupHistory): readonly Base[] {
  const { newest, older, records } = history;
  const bases: Base[] = [];
  if (newest !== undefined) {
    const found = records.findIndex(({ position, count }) => position + count > newest.journalPosition);
    bases.push({ snapshot: newest, time: newest.time, firstRecord: found === -1 ? records.length : found });
  }
  if (older !== undefined) {
    if (leadsTo(older, history)) bases.push({ snapshot: older, time: older.time, firstRecord: 0 });
  } else if ((records[0]?.position ?? 0) === 0 && leadsTo(undefined, history)) {
    bases.push({ snapshot: undefined, time: 0, firstRecord: 0 });
  }
  return bases;
}

/**
 * Whether the journal leads from a base to all that the newest snapshot holds. It does not where a state was joined
 * from a peer: the events in that are in no journal, and nobody can tell which of them are later than a time.
 */
function leadsTo(base: GroupSnapshot | undefined, { newest, records }: GroupHistory): boolean {
  if (newest === undefined) return true;
  const vector = base === undefined ? new VersionVector() : base.vector.clone();
  const waiting: Run[] = [];
  for (const { position, bytes } of records) {
    let at = position;
    for (const run of decodeRuns(bytes)) {
      const count = Math.min(run.count, newest.journalPosition - at);
      if (count > 0) waiting.push(prefixOf(run, count));
      at += run.count;
    }
    applyAll(waiting, vector);
  }
  return vector.equals(newest.vector);
}

/** Moves a vector on by all runs that may follow it, in causal order; those that are known whole are taken out. */
function applyAll(waiting: Run[], vector: VersionVector): void {
  for (let progress = true; progress;) {
    progress = false;
    for (const [index, run] of [...waiting.entries()].toReversed()) {
      if (applyRun(run, vector)) progress = true;
      if (vector.get(run.actor) >= run.lastSeq) waiting.splice(index, 1);
    }
  }
}

function applyRun(run: Run, vector: VersionVector): boolean {
  const first = vector.get(run.actor) + 1 - run.firstSeq;
  if (first < 0) return false;
  const blocked = run.dependencies.find(
    ({ index, list }) => index >= first && list.some(({ actor, seq }) => vector.get(actor) < seq),
  );
  const end = blocked?.index ?? run.count;
  if (end <= first) return false;
  vector.set(run.actor, run.firstSeq + end - 1);
  return true;
}

/** A journal record without the events later than `until`; nothing when none is left. */
function cut(bytes: Uint8Array, until: HybridTime): readonly PastRecord[] {
  const runs: Run[] = [];
  for (const run of decodeRuns(bytes)) {
    const count = countUntil(run, until);
    if (count > 0) runs.push(prefixOf(run, count));
  }
  const count = runs.reduce((sum, run) => sum + run.count, 0);
  return count === 0 ? [] : [{ count, bytes: encodeRuns(runs) }];
}

/** How many events of a run are not later than `until`: times rise within a run. */
function countUntil(run: Run, until: HybridTime): number {
  const reader = new Reader(run.bytes, run.timesAt);
  let time = 0;
  for (let count = 0; count < run.count; count++) {
    time += reader.uint();
    if (time > until) return count;
  }
  return run.count;
}

/** The first `count` events of a run as a run of their own: see `core/run.ts` for the columns. */
function prefixOf(run: Run, count: number): Run {
  if (count >= run.count) return run;
  const { bytes } = run;
  const writer = new Writer(bytes.length);
  writer.actor(run.actor);
  writer.uint(run.firstSeq);
  writer.uint(count);
  const times = skip(bytes, run.timesAt, count);
  writer.raw(bytes.subarray(run.timesAt, times.at));
  writeDependencies(
    writer,
    run.dependencies.filter(({ index }) => index < count),
  );
  const lengths = skip(bytes, run.lengthsAt, count);
  writer.raw(bytes.subarray(run.lengthsAt, lengths.at));
  writer.raw(bytes.subarray(run.deltasAt, run.deltasAt + lengths.sum));
  return Run.decode(writer.take());
}

/** Where a column goes on behind its first `count` numbers, and their sum. */
function skip(bytes: Uint8Array, from: number, count: number): { readonly at: number; readonly sum: number } {
  const reader = new Reader(bytes, from);
  let sum = 0;
  for (let left = count; left > 0; left--) sum += reader.uint();
  return { at: reader.at, sum };
}

/** When the first event of an epoch was made whose journal is there from its start. */
function bornMs({ records }: GroupHistory): number {
  const times = records.flatMap(({ bytes }) => decodeRuns(bytes).map((run) => run.timeOf(0)));
  return times.length === 0 ? 0 : unixMs(Math.min(...times));
}
