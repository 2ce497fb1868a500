import type { GroupCommit, GroupMeta, GroupSnapshot, JournalRecord } from "@coppice/storage";
import { ReplicationError, closed } from "../error.ts";
import type { NoticeSubject } from "./context.ts";
import { type Group, emptyMeta } from "./group.ts";
import type { ReplicationServer } from "./replication-server.ts";
import { encodeRuns } from "./run.ts";
import type { FreshRun } from "./transfer.ts";

/** Snapshots that are due go into one commit up to this many, and up to this many bytes, so that no tick blocks for long. */
const SNAPSHOTS_PER_COMMIT = 256;
const SNAPSHOT_BYTES_PER_COMMIT = 1024 * 1024;
/** Once a group's journal has grown to this, and to twice its snapshot, a snapshot is due. */
const JOURNAL_BYTES_MIN = 64 * 1024;
/** Failed commits remembered, for writes that are awaited late. */
const FAILURES_MAX = 1024;

/** When, if at all, events reach the journal. */
export type Durability = "snapshot" | "log" | "sync";

/** What the pipeline needs around it. */
export interface PipelineEnvironment {
  now(): number;
  /** The durability of a group: `snapshot` also where its backend keeps nothing. */
  durability(group: Group): Durability;
  /** Writes atomically, then calls `committed`. */
  commit(commit: GroupCommit, sync: boolean): void;
  /** A group's runs may now leave this node. */
  publish(group: Group, fresh: readonly FreshRun[]): void;
  /** A group's digest may have changed. */
  changed(group: Group): void;
  /** Reads where a group's journal ends, then calls `located` or `notLocated`. */
  locate(group: Group): void;
  notice(code: string, message: string, about?: NoticeSubject): void;
}

/** One group's part of a commit. */
interface Part {
  readonly group: Group;
  readonly server: ReplicationServer | undefined;
  readonly fresh: readonly FreshRun[];
  readonly afterwards: (() => void)[];
  readonly positionBefore: number;
  readonly bytes: number;
  readonly snapshot: GroupSnapshot | undefined;
  /** The server's version when the snapshot was made. */
  readonly version: number;
}

/** What is left of a commit for snapshots that are due. */
class SnapshotRoom {
  #snapshots = SNAPSHOTS_PER_COMMIT;
  #bytes = SNAPSHOT_BYTES_PER_COMMIT;

  get isLeft(): boolean {
    return this.#snapshots > 0 && this.#bytes > 0;
  }

  take(snapshot: GroupSnapshot | undefined): void {
    if (snapshot === undefined) return;
    this.#snapshots--;
    this.#bytes -= snapshot.body.length;
  }
}

interface Commit {
  readonly ticket: number;
  readonly parts: ReadonlyMap<Group, Part>;
  readonly deletions: readonly GroupMeta[];
  readonly repaired: readonly Group[];
  readonly superseded: readonly GroupSnapshot[];
  readonly afterwards: (() => void)[];
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Someone who waits for everything that was still to be committed at a moment: a commit, and snapshots. */
interface Barrier {
  readonly ticket: number;
  readonly due: Set<Group>;
  readonly callback: () => void;
}

/**
 * Persist before publish: gathers what a tick changed into one commit at a time, and lets events, states and vectors
 * leave the node only after the commit that holds them. What changes meanwhile goes into the next commit (group commit).
 *
 * A failed commit is published all the same (fresh incarnations make that safe) and its writes are told so; from then
 * on `failure` is set, until a commit with snapshots of all groups concerned succeeds. Whether a failed commit has
 * reached the disk is not known, so each of its groups is read again first: its journal goes on where it really ends.
 */
export class CommitPipeline {
  readonly #environment: PipelineEnvironment;
  #dirty = new Set<Group>();
  /** Those of them that no journal keeps. */
  readonly #unjournalled = new Set<Group>();
  readonly #due = new Set<Group>();
  /** Groups whose last commit failed, until it is known where their journal ends; whether that was asked. */
  readonly #unlocated = new Map<Group, { readonly part: Part; isAsked: boolean }>();
  readonly #deferred = new Map<Group, (() => () => void)[]>();
  readonly #repaired = new Set<Group>();
  #deletions: GroupMeta[] = [];
  #superseded: GroupSnapshot[] = [];
  #afterDeletions: (() => void)[] = [];
  #inFlight: Commit | undefined;
  #lastTicket = 0;
  #committedTicket = 0;
  #wantsSync = false;
  readonly #waiters = new Map<number, Waiter[]>();
  readonly #failures = new Map<number, unknown>();
  #barriers: Barrier[] = [];
  #hasEnded = false;
  /** Why the last commit failed; no own writes until one succeeds. */
  failure: unknown;

  constructor(environment: PipelineEnvironment) {
    this.#environment = environment;
  }

  /** Throws `STORAGE_FAILED` after a failed commit, until one succeeds. */
  check(): void {
    if (this.failure === undefined) return;
    const message = "the storage does not take writes; own writes are refused until it does again";
    throw new ReplicationError("STORAGE_FAILED", message, { cause: this.failure });
  }

  /** Whether nothing waits to be committed. */
  get isIdle(): boolean {
    if (this.#inFlight !== undefined || this.#deletions.length > 0) return false;
    return this.#dirty.size === 0 && this.#due.size === 0 && this.#repaired.size === 0;
  }

  /** The commit that a write made now will be part of. */
  ticket(sync: boolean): number {
    if (sync) this.#wantsSync = true;
    return this.#lastTicket + 1;
  }

  /** Calls back once the commit of that number is done. */
  whenCommitted(ticket: number, resolve: () => void, reject: (reason: unknown) => void): void {
    const failure = this.#failures.get(ticket);
    if (failure !== undefined) return reject(failure);
    if (ticket <= this.#committedTicket) return resolve();
    if (this.#hasEnded) return reject(closed());
    const waiters = this.#waiters.get(ticket);
    if (waiters === undefined) this.#waiters.set(ticket, [{ resolve, reject }]);
    else waiters.push({ resolve, reject });
  }

  /**
   * Calls back once all that waits to be committed now is, whatever comes meanwhile, or a commit has failed; after a
   * failure it is tried once more.
   */
  whenSettled(callback: () => void): void {
    if (this.isIdle) return callback();
    // The next commit takes everything but the snapshots that are too many for one.
    this.#barriers.push({ ticket: this.#lastTicket + 1, due: new Set(this.#due), callback });
    this.retry();
  }

  /** No commit follows: whoever still waits for one is told so. */
  end(): void {
    this.#hasEnded = true;
    for (const waiters of this.#waiters.values()) for (const { reject } of waiters) reject(closed());
    this.#waiters.clear();
  }

  dirty(group: Group): void {
    this.#dirty.add(group);
    if (this.#environment.durability(group) === "snapshot") this.#unjournalled.add(group);
  }

  /** A snapshot of the group goes into one of the next commits. */
  snapshotDue(group: Group): void {
    this.#due.add(group);
  }

  /** What was lost of the group in storage has come back from peers: goes into the next commit. */
  repaired(group: Group): void {
    this.#repaired.add(group);
  }

  /** Whether everything in the group's server is stored, so that it can be loaded again as it is. */
  holds(group: Group): boolean {
    if (this.#dirty.has(group) || this.#due.has(group) || this.failure !== undefined) return false;
    if (this.#inFlight?.parts.has(group)) return false;
    // What was never written to need not be stored.
    if (!group.isStored) return group.vector.size === 0;
    if (this.#environment.durability(group) !== "snapshot") return true;
    return group.server?.version === group.snapshotVersion;
  }

  /** The group is gone or starts anew: nothing of it waits any more. */
  forget(group: Group): void {
    this.#dirty.delete(group);
    this.#unjournalled.delete(group);
    this.#notDue(group);
    this.#repaired.delete(group);
    this.#deferred.delete(group);
    this.#unlocated.delete(group);
  }

  /** A state to keep, of an epoch that is superseded: it goes into the next commit, before what supersedes it. */
  supersede(state: GroupSnapshot): void {
    this.#superseded.push(state);
    this.#wantsSync = true;
  }

  delete(meta: GroupMeta, afterwards: () => void): void {
    this.#deletions.push(meta);
    this.#afterDeletions.push(afterwards);
    this.#wantsSync = true;
  }

  /** Calls back once the deletions made so far are on stable storage. */
  whenDeleted(callback: () => void): void {
    if (this.#deletions.length > 0) this.#afterDeletions.push(callback);
    else if (this.#inFlight !== undefined && this.#inFlight.deletions.length > 0)
      this.#inFlight.afterwards.push(callback);
    else callback();
  }

  /**
   * Runs `prepare`, which reads the group, at a moment when all that the group holds is in one commit, and what it
   * returns, which sends, once that commit is done.
   */
  respond(group: Group, prepare: () => () => void): void {
    if (this.#environment.durability(group) === "snapshot") return prepare()();
    if (this.#dirty.has(group)) {
      const waiting = this.#deferred.get(group) ?? [];
      waiting.push(prepare);
      this.#deferred.set(group, waiting);
      return;
    }
    const part = this.#inFlight?.parts.get(group);
    if (part === undefined) return prepare()();
    part.afterwards.push(prepare());
  }

  /** Assembles and starts the next commit, if there is something to write and none is under way. */
  flush(): void {
    if (this.#inFlight === undefined && this.failure === undefined) return this.#start();
    this.#publishUnjournalled();
    // The group that a new try waited for may be gone.
    if (this.#barriers.length > 0) this.retry();
  }

  /** Tries again after a failure. */
  retry(): void {
    if (this.failure === undefined || this.#inFlight !== undefined) return;
    if (this.#unlocated.size === 0) return this.#start();
    for (const [group, unlocated] of this.#unlocated) {
      if (unlocated.isAsked) continue;
      unlocated.isAsked = true;
      this.#environment.locate(group);
    }
  }

  /** Where the group's journal ends; false when that was not asked. The last answer lets the next commit begin. */
  located(group: Group, position: number): boolean {
    const unlocated = this.#unlocated.get(group);
    if (unlocated === undefined) return false;
    this.#unlocated.delete(group);
    const { server, fresh, positionBefore } = unlocated.part;
    if (server !== undefined) {
      server.position = position;
      // Without its type's code there is no snapshot that would hold them.
      if (server.isOpaque && position <= positionBefore) server.putBack(fresh);
    }
    this.retry();
    return true;
  }

  /** It cannot be read now: the next `retry` asks again. False when it was not asked. */
  notLocated(group: Group): boolean {
    const unlocated = this.#unlocated.get(group);
    if (unlocated === undefined) return false;
    unlocated.isAsked = false;
    this.#passBarriers(() => true);
    return true;
  }

  /** Groups that no journal keeps need not wait for it. */
  #publishUnjournalled(): void {
    for (const group of this.#unjournalled) {
      this.#unjournalled.delete(group);
      if (!this.#dirty.has(group) || this.#environment.durability(group) !== "snapshot") continue;
      this.#dirty.delete(group);
      this.#finish(this.#part(group, false));
    }
  }

  #start(): void {
    const parts = new Map<Group, Part>();
    const dirty = this.#dirty;
    this.#dirty = new Set();
    this.#unjournalled.clear();
    const room = new SnapshotRoom();
    for (const group of dirty) {
      const part = this.#part(group, this.#due.has(group) && room.isLeft);
      room.take(part.snapshot);
      if (part.snapshot === undefined && part.bytes === 0) this.#finish(part);
      else parts.set(group, part);
    }
    for (const group of this.#due) {
      if (!room.isLeft) break;
      // Its journal has just become long.
      if (parts.has(group)) continue;
      const part = this.#part(group, true);
      room.take(part.snapshot);
      if (part.snapshot !== undefined) parts.set(group, part);
    }
    if (parts.size + this.#deletions.length + this.#repaired.size === 0 && !this.#wantsSync) {
      // What had failed was superseded meanwhile.
      this.#recovered();
      return this.#passBarriers(() => true);
    }
    const deletions = this.#deletions;
    const repaired = [...this.#repaired];
    const afterwards = this.#afterDeletions;
    this.#deletions = [];
    this.#afterDeletions = [];
    this.#repaired.clear();
    const superseded = this.#superseded;
    this.#superseded = [];
    this.#inFlight = { ticket: ++this.#lastTicket, parts, deletions, repaired, superseded, afterwards };
    const isSynced =
      this.#wantsSync || [...parts.keys()].some((group) => this.#environment.durability(group) === "sync");
    this.#wantsSync = false;
    this.#environment.commit(this.#contents(this.#inFlight), isSynced);
  }

  /** Takes what a group has for the journal; `takesSnapshot` asks for a snapshot too. */
  #part(group: Group, takesSnapshot: boolean): Part {
    if (takesSnapshot) this.#notDue(group);
    const server = group.server;
    if (server === undefined) {
      return { group, server, fresh: [], afterwards: [], positionBefore: 0, bytes: 0, snapshot: undefined, version: 0 };
    }
    const fresh = server.takeFresh();
    server.settle();
    this.#environment.changed(group);
    const positionBefore = server.position;
    const { version } = server;
    if (this.#environment.durability(group) === "snapshot") {
      if (fresh.length > 0) this.#environment.publish(group, fresh);
      const snapshot = takesSnapshot ? server.snapshot() : undefined;
      return { group, server, fresh: [], afterwards: [], positionBefore, bytes: 0, snapshot, version };
    }
    let bytes = 0;
    for (const { run } of fresh) {
      bytes += run.bytes.length;
      server.position += run.count;
    }
    group.journalBytes += bytes;
    const snapshot = takesSnapshot || server.snapshotRequired ? server.snapshot() : undefined;
    const isLong = group.journalBytes > Math.max(JOURNAL_BYTES_MIN, 2 * group.snapshotBytes);
    if (isLong && snapshot === undefined) this.#due.add(group);
    if (snapshot !== undefined) server.snapshotRequired = false;
    const afterwards = (this.#deferred.get(group) ?? []).map((prepare) => prepare());
    this.#deferred.delete(group);
    return { group, server, fresh, afterwards, positionBefore, bytes, snapshot, version };
  }

  #contents(commit: Commit): GroupCommit {
    const created: GroupMeta[] = [];
    const records: JournalRecord[] = [];
    const snapshots: GroupSnapshot[] = [];
    for (const { group, fresh, positionBefore, bytes, snapshot } of commit.parts.values()) {
      if (bytes > 0) {
        if (!group.isStored) created.push(emptyMeta(group.id, group.key, group.typeName, group.epoch));
        const runs = fresh.map(({ run }) => run);
        const count = runs.reduce((sum, run) => sum + run.count, 0);
        const record = { id: group.id, epoch: group.epoch, position: positionBefore, count, bytes: encodeRuns(runs) };
        records.push(record);
      }
      if (snapshot !== undefined) snapshots.push(snapshot);
    }
    const { deletions, superseded } = commit;
    const repaired = commit.repaired.map(({ id }) => id);
    return { created, records, snapshots, repaired, deletions, superseded };
  }

  /** The commit under way is done, or has failed. */
  committed(failure?: unknown): void {
    const commit = this.#inFlight;
    if (commit === undefined) return;
    this.#inFlight = undefined;
    if (failure === undefined) this.#succeeded(commit);
    else this.#failed(commit, failure);
    for (const part of commit.parts.values()) this.#finish(part);
    this.#committedTicket = commit.ticket;
    const waiters = this.#waiters.get(commit.ticket) ?? [];
    this.#waiters.delete(commit.ticket);
    if (failure !== undefined) {
      for (const { reject } of waiters) reject(failure);
      return this.#passBarriers(() => true);
    }
    for (const { resolve } of waiters) resolve();
    for (const callback of commit.afterwards) callback();
    this.#passBarriers(({ ticket, due }) => ticket <= commit.ticket && due.size === 0);
    this.flush();
  }

  #recovered(): void {
    if (this.failure !== undefined) this.#environment.notice("STORAGE_RECOVERED", "the storage takes writes again");
    this.failure = undefined;
  }

  #succeeded(commit: Commit): void {
    this.#recovered();
    for (const { group, server, snapshot, version } of commit.parts.values()) {
      if (group.server !== server) continue;
      group.isStored = true;
      if (snapshot === undefined) continue;
      group.snapshotAt = this.#environment.now();
      group.snapshotVersion = version;
      group.snapshotBytes = snapshot.body.length;
      group.journalBytes = 0;
    }
  }

  #failed(commit: Commit, failure: unknown): void {
    // It is tried again and again: what fails in the same way is told once.
    const isNew = String(failure) !== String(this.failure);
    this.failure = failure;
    this.#failures.set(commit.ticket, failure);
    if (this.#failures.size > FAILURES_MAX) this.#failures.delete(this.#failures.keys().next().value ?? 0);
    if (isNew) {
      const message = `a commit failed, own writes are refused until one succeeds: ${String(failure)}`;
      this.#environment.notice("STORAGE_FAILED", message);
    }
    for (const part of commit.parts.values()) {
      const { group, server, snapshot } = part;
      if (server === undefined || group.server !== server) continue;
      server.snapshotRequired = true;
      if (snapshot !== undefined) this.#due.add(group);
      this.dirty(group);
      this.#unlocated.set(group, { part, isAsked: false });
    }
    this.#wantsSync = true;
    this.#superseded.unshift(...commit.superseded);
    this.#deletions.unshift(...commit.deletions);
    for (const group of commit.repaired) this.#repaired.add(group);
    this.#afterDeletions.unshift(...commit.afterwards);
  }

  #finish(part: Part): void {
    // Events of an epoch that was left meanwhile must not be taken for events of the next.
    const isCurrent = part.group.server === part.server;
    if (isCurrent && part.fresh.length > 0) this.#environment.publish(part.group, part.fresh);
    for (const send of part.afterwards) send();
  }

  /** The group's snapshot is taken, or not wanted any more. */
  #notDue(group: Group): void {
    this.#due.delete(group);
    for (const { due } of this.#barriers) due.delete(group);
  }

  #passBarriers(isPassed: (barrier: Barrier) => boolean): void {
    const passed = this.#barriers.filter(isPassed);
    this.#barriers = this.#barriers.filter((barrier) => !passed.includes(barrier));
    for (const { callback } of passed) callback();
  }
}
