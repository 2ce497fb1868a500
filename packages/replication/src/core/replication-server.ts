import { type Actor, type AnyCrdtType, HybridClock, type HybridTime, type VersionVector, Writer } from "@coppice/crdt";
import type { Digest, GroupId, GroupMeta, GroupSnapshot, StoredGroup } from "@coppice/storage";
import type { PeerId } from "../transport.ts";
import { CausalPast } from "./causal-past.ts";
import { type Changes, type Origin, keysOf } from "./changes.ts";
import { groupSeed } from "./digest.ts";
import { Incarnation, type Issued } from "./incarnation.ts";
import type { Limits } from "./limits.ts";
import { type OpaqueState, opaqueType, reviveOpaque } from "./opaque.ts";
import { OwnEvents, type WriterEnvironment } from "./own-events.ts";
import { NOTHING_PENDING, PendingBuffer } from "./pending.ts";
import { type Run, RunWalk, decodeRuns } from "./run.ts";
import { Tail } from "./tail.ts";
import type { FreshRun, StateTransfer } from "./transfer.ts";

/** What a replication server needs from its node. */
export interface ServerEnvironment extends WriterEnvironment {
  readonly limits: Limits;
  /** The wall clock, in Unix milliseconds. */
  readonly now: () => number;
  /** This group has something to commit, publish or tell its watchers; called once until `settle()`. */
  dirty(key: string): void;
}

/** Nothing; never added to. */
const NO_FRESH: FreshRun[] = [];
const NO_VIEWS: readonly { readonly type: AnyCrdtType; readonly view: unknown }[] = [];

/**
 * The engine of one group: sequences its events, delivers them in causal order to its CRDT, and keeps what the journal
 * and the peers need. Pure: no I/O, no clock, no randomness of its own.
 *
 * Invariants: the version vector is contiguous and causally closed; an event counts in it once the state holds it;
 * equal vectors (at equal type and epoch) mean equal states.
 */
export class ReplicationServer {
  readonly id: GroupId;
  readonly key: string;
  readonly typeName: string;
  readonly epoch: number;
  readonly #environment: ServerEnvironment;
  #type: AnyCrdtType;
  readonly #past: CausalPast;
  readonly #clock: HybridClock;
  #state: unknown;
  #stopWatching: (() => void) | undefined;
  #isDirty = false;
  /** Under which actor this process writes. */
  readonly incarnation: Incarnation;
  /** From the first write of a tick to its end. */
  #own: OwnEvents | undefined;
  #views: readonly { readonly type: AnyCrdtType; readonly view: unknown }[] = NO_VIEWS;
  #fresh: FreshRun[] = NO_FRESH;
  #pending: PendingBuffer = NOTHING_PENDING;
  readonly #tail: Tail;
  #opaqueBase: GroupSnapshot | undefined;
  #changes: Map<Origin, Set<string>> | undefined;
  /** Events handed to the journal in this epoch. */
  position = 0;
  /** Rises with every change of the state. */
  version = 0;
  /** How many subscriptions want to hear of changes. */
  watchers = 0;
  /** A joined state is not yet in a snapshot: no later event may be journalled before one is written. */
  snapshotRequired = false;
  /** Events may be missing here that a peer has: something was lost in storage, or broke what waited for it. */
  degraded = false;

  /** A group that holds nothing yet; `meta` says what it is. */
  constructor(environment: ServerEnvironment, key: string, meta: GroupMeta, type: AnyCrdtType | undefined) {
    this.id = meta.id;
    this.key = key;
    this.typeName = meta.type;
    this.epoch = meta.epoch;
    this.#environment = environment;
    this.#type = type ?? opaqueType;
    this.#state = this.#type.create();
    this.#past = new CausalPast(groupSeed(key, meta.type, meta.epoch));
    this.#clock = new HybridClock(environment.now, meta.time);
    this.incarnation = new Incarnation(meta.id, environment);
    this.#tail = new Tail(this.#past.vector);
    this.#watchType();
  }

  /** Whether this node lacks the code of the group's type. */
  get isOpaque(): boolean {
    return this.#type === opaqueType;
  }

  /** Not to be changed by callers. */
  get vector(): VersionVector {
    return this.#past.vector;
  }

  /** Whether no event is known. */
  get isEmpty(): boolean {
    return this.#past.isEmpty;
  }

  /** The actors whose latest event no known event follows. */
  get frontier(): readonly Actor[] {
    return this.#past.frontier;
  }

  /** Events that wait for others before them. */
  get pending(): PendingBuffer {
    return this.#pending;
  }

  get hasPending(): boolean {
    return !this.#pending.isEmpty;
  }

  /** About what the events kept for peers take in memory. */
  get tailBytes(): number {
    return this.#tail.bytes;
  }

  /** The last event issued here under the current actor. */
  get issued(): Issued | undefined {
    return this.incarnation.issued;
  }

  /** The group's digest: O(1) for each event since it was last asked for. */
  digest(): Digest {
    return this.#past.digest();
  }

  meta(): GroupMeta {
    return {
      id: this.id,
      type: this.typeName,
      epoch: this.epoch,
      vector: this.#past.vector.clone(),
      frontier: this.#past.frontier,
      time: this.#clock.last,
      digest: this.digest(),
    };
  }

  // Life

  /** Loads what is stored; degraded when not all of it could be applied. */
  restore(stored: StoredGroup): void {
    const { snapshot } = stored;
    if (snapshot !== undefined) {
      this.#state = this.#type.decode(snapshot.body);
      this.#past.load(snapshot.vector, snapshot.frontier);
      this.#clock.observe(snapshot.time);
      this.#tail.reset(this.#past.vector);
      if (this.isOpaque) this.#opaqueBase = snapshot;
    }
    this.degraded = stored.row.degraded;
    for (const { bytes } of stored.records) this.#replay(bytes);
    this.position = stored.nextPosition;
    this.#watchType();
    this.settleType();
  }

  /** The group is unloaded or starts anew: the type's own watching ends. */
  dispose(): void {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
  }

  #watchType(): void {
    this.dispose();
    this.#stopWatching = this.#type.watch?.(this.#state, () => this.#changed("local"));
  }

  /** Makes an event of what the type changed by itself, or was changed to behind our back; see `CrdtType.settle`. */
  settleType(): void {
    if (this.#type.settle === undefined || this.isMutating) return;
    const own = this.#ownEvents();
    const before = own.count;
    own.settle(this.#type, this.#state, this.#touchedIfWatched("local"));
    this.#wrote(own, before);
  }

  #replay(bytes: Uint8Array): void {
    try {
      for (const run of decodeRuns(bytes)) this.#accept({ run, source: undefined, repaired: false });
    } catch (error) {
      this.degraded = true;
      const message = `${this.key}: a journal record cannot be applied: ${String(error)}`;
      this.#environment.notice("JOURNAL_DAMAGED", message, { group: this.id });
    } finally {
      this.#fresh = NO_FRESH;
    }
  }

  /** Gives code to a group whose type was unknown so far. */
  register(type: AnyCrdtType): void {
    if (!this.isOpaque || type.name !== this.typeName) return;
    this.#state = reviveOpaque(type, this.#state as OpaqueState);
    this.#type = type;
    this.#opaqueBase = undefined;
    this.#trimTail();
    this.#watchType();
    this.#views = NO_VIEWS;
    this.#changed("remote");
  }

  // Reading

  /** The value as `type` shows it. */
  value(type: AnyCrdtType): unknown {
    return type.value(this.#state);
  }

  /** Point reads as `type` offers them. */
  view(type: AnyCrdtType): unknown {
    for (const known of this.#views) if (known.type === type) return known.view;
    const view: unknown = type.view(this.#state);
    this.#views = this.#views.concat([{ type, view }]);
    return view;
  }

  /** The canonical bytes of the state; equal on replicas of equal vectors. */
  canonical(): Uint8Array {
    const writer = new Writer();
    this.#type.canonical(this.#state, writer);
    return writer.take();
  }

  /** Frees what no replica needs, given that every one knows `stable`; returns how many items. Makes no event. */
  collect(stable: VersionVector): number {
    const collected = this.#type.collect?.(this.#state, stable) ?? 0;
    if (collected > 0) this.#changed("local");
    return collected;
  }

  // Writing

  /** See `OwnEvents.mutate`. */
  mutate<Mutator, Result>(type: AnyCrdtType, fn: (mutator: Mutator) => Result): Result {
    this.settleType();
    const own = this.#ownEvents();
    const before = own.count;
    try {
      return own.mutate(type, this.#state, this.#touchedIfWatched("local"), fn);
    } finally {
      this.#wrote(own, before);
      this.settleType();
    }
  }

  /** Whether a `mutate` callback runs. */
  get isMutating(): boolean {
    return this.#own?.isOpen === true;
  }

  /** The own events of this tick. */
  #ownEvents(): OwnEvents {
    return (this.#own ??= new OwnEvents(this.#environment.builders, this.#past, this.#clock, this.incarnation));
  }

  /** A callback is over that began with `before` events in this tick. */
  #wrote(own: OwnEvents, before: number): void {
    if (own.isOpen) return;
    if (own.count === 0) return this.#seal();
    // Those made before may still wait for the end of this callback.
    if (own.count === before) return this.#wake();
    this.#changed("local");
    if (!this.incarnation.isExhausted) return;
    this.#seal();
    this.incarnation.renew(this.#past.vector);
  }

  /** A peer claims more of this incarnation than was issued here: a copy of this process' data writes elsewhere. */
  #checkIncarnation(actor: Actor, seq: number): void {
    if (!this.incarnation.isReused(actor, seq)) return;
    this.#seal();
    this.incarnation.replace(this.#past.vector, seq);
  }

  // Receiving

  /**
   * Takes a run from a peer. Returns whether anything was new, and whether something before it is missing.
   * Throws `CrdtError` `MALFORMED` when an event cannot be decoded; the events before it are kept.
   */
  receive(run: Run, source: PeerId, repaired: boolean): { readonly isNew: boolean; readonly hasGap: boolean } {
    this.#checkIncarnation(run.actor, run.lastSeq);
    const before = this.version;
    this.#accept({ run, source, repaired });
    this.settleType();
    return { isNew: this.version !== before, hasGap: this.hasPending };
  }

  #accept(fresh: FreshRun): void {
    const { actor, lastSeq } = fresh.run;
    if (lastSeq <= this.#past.known(actor)) return;
    this.#seal();
    this.#applyRun(fresh);
    if (this.#past.known(actor) < lastSeq) this.#wait(fresh);
    this.#applyPending();
  }

  /** Keeps what must wait for events before it, if there is room: else its peer is asked for it again. */
  #wait(fresh: FreshRun): void {
    if (this.#pending === NOTHING_PENDING) {
      this.#pending = new PendingBuffer(this.#environment.limits.pendingBytesMax);
    }
    // Nobody is told of it as of the rest of an answer: once it may follow, it is passed on like any other.
    this.#pending.add({ ...fresh, repaired: false });
  }

  #applyPending(): void {
    for (let progress = this.hasPending; progress;) {
      progress = false;
      for (const waiting of this.#pending.candidates(this.#past.vector)) {
        try {
          if (this.#applyRun(waiting)) progress = true;
        } catch (error) {
          // It is not the fault of whoever sent what it waited for.
          this.#pending.drop(waiting);
          this.degraded = true;
          progress = true;
          const message = `${this.key}: events that waited cannot be applied: ${String(error)}`;
          this.#environment.notice("MALFORMED_FRAME", message, { group: this.id });
        }
      }
    }
  }

  /** Applies as much of a run as may follow now; returns whether anything was applied. */
  #applyRun(fresh: FreshRun): boolean {
    const { run } = fresh;
    const first = this.#past.known(run.actor) + 1 - run.firstSeq;
    if (first < 0) return false;
    const end = this.#past.uncovered(run, first);
    if (end <= first) return false;
    const walk = new RunWalk(run, first, end);
    try {
      this.#applyWalk(walk);
    } catch (error) {
      // What was applied before the bad event stays, but this run's bytes must not reach the journal.
      const bad = walk.seq - run.firstSeq;
      if (bad > first) {
        this.#follow(run, first, bad, run.timeOf(bad - 1));
        this.#joined();
      }
      throw error;
    }
    this.#follow(run, first, end, walk.time);
    // A run whose first part was applied earlier was recorded then, and its bytes hold the rest too.
    if (!run.isRecorded) {
      run.isRecorded = true;
      this.#record(fresh);
    }
    this.#changed("remote");
    return true;
  }

  #applyWalk(walk: RunWalk): void {
    const type = this.#type;
    const touched = this.#touchedIfWatched("remote");
    if (type.applyAll !== undefined) return type.applyAll(this.#state, walk, touched);
    while (walk.next()) {
      const { actor, seq, time } = walk;
      type.apply(this.#state, walk.bytes.subarray(walk.start, walk.end), { actor, seq, time }, touched);
    }
  }

  /** The events of a run from index `from` up to `to`, the last of them of `time`, are in the state. */
  #follow(run: Run, from: number, to: number, time: HybridTime): void {
    this.#past.follow(run, from, to);
    this.#clock.observe(time);
  }

  /**
   * Joins a peer's state. Returns whether anything was new here. Throws `CrdtError` `MALFORMED` with nothing changed.
   */
  joinState(theirs: StateTransfer): boolean {
    if (this.#past.vector.includes(theirs.vector)) return false;
    const { issued } = this;
    if (issued !== undefined) this.#checkIncarnation(issued.actor, theirs.vector.get(issued.actor));
    this.#seal();
    if (this.isOpaque) {
      if (!theirs.whole || !theirs.vector.includes(this.#past.vector)) return false;
      this.#state = opaqueType.decode(theirs.body.slice());
      this.#fresh = NO_FRESH;
    } else {
      const touched = this.#touchedIfWatched("remote");
      this.#type.join(this.#state, theirs.body, this.#past.vector, theirs.vector, touched);
    }
    this.#past.join(theirs.vector, theirs.frontier);
    this.#clock.observe(theirs.time);
    this.#joined();
    if (this.isOpaque) this.#opaqueBase = { ...this.meta(), journalPosition: this.position, body: theirs.body.slice() };
    this.#applyPending();
    this.settleType();
    return true;
  }

  /** The state now holds events that no run in the journal or the tail does. */
  #joined(): void {
    this.#tail.reset(this.#past.vector);
    this.snapshotRequired = true;
    this.#changed("remote");
  }

  // For peers and the journal

  /** Whether a peer has the very same events otherwise; see `Tail.contradicts`. */
  contradicts(run: Run): boolean {
    this.#seal();
    return this.#tail.contradicts(run);
  }

  /** The runs that a replica at `vector` lacks; undefined when only the whole state will do. */
  runsSince(vector: VersionVector): Run[] | undefined {
    this.#seal();
    return this.#tail.since(vector);
  }

  /**
   * The state for a replica at `vector`. Without the type's code: the state as it once came, which the events of the
   * tail follow; undefined when none came.
   */
  stateFor(vector: VersionVector): StateTransfer | undefined {
    if (this.isOpaque) return this.#opaqueBase && { ...this.#opaqueBase, whole: true };
    const since = vector.size === 0 ? undefined : this.#type.encodeSince?.(this.#state, vector);
    const body = since ?? this.#type.encode(this.#state);
    return { ...this.meta(), whole: since === undefined, body };
  }

  /** Takes the runs applied since the last call, in causal order. */
  takeFresh(): FreshRun[] {
    this.settleType();
    this.#seal();
    const fresh = this.#fresh;
    this.#fresh = NO_FRESH;
    return fresh;
  }

  /** Takes back runs that did not reach the journal: they go into it before everything newer. */
  putBack(runs: readonly FreshRun[]): void {
    this.#fresh = [...runs, ...this.#fresh];
  }

  /** The complete state as of now, to store; undefined when there is none that could be read back. */
  snapshot(): GroupSnapshot | undefined {
    if (this.isOpaque) return this.#opaqueBase;
    return { ...this.meta(), journalPosition: this.position, body: this.#type.encode(this.#state) };
  }

  /** What was dirty is being taken care of: the next change calls `dirty` again. */
  settle(): void {
    this.#isDirty = false;
  }

  /** Takes what changed since the last call; undefined when nobody watched, and with `onlyRemote` if any is local. */
  takeChanges(onlyRemote: boolean): Changes | undefined {
    if (onlyRemote && this.#changes?.has("local")) return undefined;
    // The next change must be told of again, also while a commit that holds these is still to be made.
    this.#isDirty = false;
    const changes = this.#changes;
    this.#changes = undefined;
    return changes;
  }

  /** Puts the own events of this tick behind everything applied so far; within a callback, only after it. */
  #seal(): void {
    const own = this.#own;
    if (own === undefined || own.isOpen) return;
    this.#own = undefined;
    const run = own.take();
    if (run !== undefined) this.#record({ run, source: undefined, repaired: false });
  }

  #record(fresh: FreshRun): void {
    if (this.#fresh === NO_FRESH) this.#fresh = [fresh];
    else this.#fresh.push(fresh);
    this.#tail.add(fresh.run);
    this.#trimTail();
  }

  #trimTail(): void {
    // Without code there is no state to send instead: every event since the base is kept.
    if (!this.isOpaque) this.#tail.trim(this.#environment.limits.tailBytesMax);
  }

  #touchedIfWatched(origin: Origin): Set<string> | undefined {
    return this.watchers > 0 ? keysOf((this.#changes ??= new Map()), origin) : undefined;
  }

  #changed(origin: Origin): void {
    this.version++;
    this.#touchedIfWatched(origin);
    this.#wake();
  }

  #wake(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.#environment.dirty(this.key);
  }
}
