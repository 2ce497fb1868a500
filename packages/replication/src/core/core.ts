import { type AnyCrdtType, actorNode } from "@coppice/crdt";
import type { CatalogueRow, GroupId, StoredGroup } from "@coppice/storage";
import type { Link, PeerId } from "../transport.ts";
import { type AckHandle, Acknowledgements, type PeerAckLevel } from "./acknowledgements.ts";
import { AntiEntropy } from "./anti-entropy.ts";
import { Backpressure } from "./backpressure.ts";
import { Broadcasts } from "./broadcasts.ts";
import { CatchUp, type Point } from "./catch-up.ts";
import { ClockGuard } from "./clock-guard.ts";
import { CommitPipeline } from "./commit-pipeline.ts";
import type { CoreContext } from "./context.ts";
import type { CoreEffects, CoreOptions } from "./core-options.ts";
import { ChangeLog } from "./change-log.ts";
import { type Counts, noCounts } from "./counts.ts";
import { Gossip } from "./gossip.ts";
import type { Group } from "./group.ts";
import type { Groups } from "./group-directory.ts";
import { GroupTable } from "./group-table.ts";
import { Housekeeping } from "./housekeeping.ts";
import { MemberReads, type ReadHandle, type ReadLevel } from "./member-reads.ts";
import type { Peer } from "./peer.ts";
import { PeerExchange } from "./peer-exchange.ts";
import { PeerProtocol } from "./peer-protocol.ts";
import { PresenceTable } from "./presence.ts";
import { RunBuilders } from "./run-builder.ts";
import { SyncWatch } from "./sync-watch.ts";
import { steadyClock } from "./steady-clock.ts";
import { TickClock } from "./tick-clock.ts";
import { Stability, type StabilityReport } from "./stability.ts";
import { UnseenWrites } from "./unseen-writes.ts";
import { type Verdict, Verification } from "./verification.ts";

/**
 * A node without its I/O: groups, peers and what passes between them. Inputs are method calls (`frame`, `linkUp`,
 * `loaded`, `committed`, `tick`, `flush`, and the writes of its replicas); outputs are calls of `CoreEffects`.
 * The same inputs in the same order give the same outputs, so a simulation runs what ships.
 */
export class Core {
  readonly #options: CoreOptions;
  readonly #effects: CoreEffects;
  readonly #table: GroupTable;
  readonly #peers = new Map<PeerId, Peer>();
  readonly #changed = new Set<Group>();
  readonly #antiEntropy: AntiEntropy;
  readonly #acknowledgements: Acknowledgements;
  readonly #gossip: Gossip;
  readonly #exchange: PeerExchange;
  readonly #protocol: PeerProtocol;
  readonly #verification: Verification;
  readonly presence: PresenceTable;
  readonly broadcasts: Broadcasts;
  readonly #stability: Stability;
  readonly #catchUp: CatchUp;
  readonly watch: SyncWatch;
  readonly #unseen: UnseenWrites;
  readonly counts: Counts = noCounts();
  readonly changes: ChangeLog = new ChangeLog();
  readonly #clock: ClockGuard;
  readonly #housekeeping: Housekeeping;
  readonly #backpressure: Backpressure;
  readonly #reads: MemberReads;
  readonly pipeline: CommitPipeline;
  /** For intervals: the wall clock may be set back. */
  readonly #steadyNow: () => number;
  readonly #tickClock: TickClock;
  #nextSyncAt: number;
  #nextHeartbeatAt: number;
  #nextUnloadAt = 0;
  #isAwake = false;
  #isSending = false;

  constructor(options: CoreOptions) {
    this.#options = options;
    this.#effects = options.effects;
    this.#steadyNow = steadyClock(() => options.now());
    this.#tickClock = new TickClock(() => options.now());
    this.#unseen = new UnseenWrites(actorNode(options.actor(false)), () => this.#table.groups.domains);
    this.pipeline = this.#newPipeline();
    this.#table = this.#newTable();
    this.watch = new SyncWatch({
      peers: this.#peers,
      now: this.#steadyNow,
      notice: (code, message, about) => this.#effects.notice(code, message, about),
    });
    const context = this.#context();
    this.#acknowledgements = new Acknowledgements(context, {
      whenSynced: (group, then) => this.#whenSynced(group, then),
    });
    this.#antiEntropy = new AntiEntropy(context, this.#acknowledgements);
    this.#gossip = new Gossip(context, this.#antiEntropy, this.#acknowledgements, options);
    this.#verification = new Verification(context);
    const wake = (): void => this.#wake();
    const { self, heartbeatMs } = options;
    const changed = (group: Group): void => this.#effects.presenceChanged(group);
    this.presence = new PresenceTable(context, { self, heartbeatMs, changed, wake });
    const received: CoreEffects["broadcast"] = (...what) => this.#effects.broadcast(...what);
    this.broadcasts = new Broadcasts(context, { self, heartbeatMs, received, wake });
    this.#stability = new Stability(context, this.#antiEntropy);
    this.#exchange = new PeerExchange(context, {
      self: options.self,
      domains: options.domains,
      random: () => options.random(),
      discovered: (addresses) => this.#effects.discovered(addresses),
    });
    this.#catchUp = new CatchUp(context, this.#antiEntropy);
    this.#clock = new ClockGuard(context);
    this.#housekeeping = this.#newHousekeeping();
    this.#backpressure = new Backpressure(this.#peers, this.#effects, options.limits.uncommittedBytesMax);
    this.#reads = new MemberReads(context, this.#catchUp);
    this.#protocol = new PeerProtocol(context, this.#peers, {
      self: options.self,
      domains: options.domains,
      limits: options.limits,
      gossip: this.#gossip,
      antiEntropy: this.#antiEntropy,
      acknowledgements: this.#acknowledgements,
      verification: this.#verification,
      presence: this.presence,
      broadcasts: this.broadcasts,
      stability: this.#stability,
      exchange: this.#exchange,
      catchUp: this.#catchUp,
      reads: this.#reads,
      drop: (peer) => this.#effects.drop(peer),
    });
    this.#nextHeartbeatAt = this.#steadyNow() + options.heartbeatMs;
    this.#nextSyncAt = this.#steadyNow() + options.syncIntervalMs;
  }

  #newPipeline(): CommitPipeline {
    const options = this.#options;
    return new CommitPipeline({
      now: () => options.now(),
      durability: (group) => {
        const mode = options.durability(group.id);
        // Without its type's code there is no snapshot that could hold it.
        return mode === "snapshot" && group.server?.isOpaque === true ? "log" : mode;
      },
      commit: (commit, sync) => this.#effects.commit(commit, sync),
      publish: (group, fresh) => this.#gossip.publish(group, fresh),
      changed: (group) => this.#table.changed(group),
      locate: (group) => this.#effects.load(group),
      notice: (code, message, about) => this.#effects.notice(code, message, about),
    });
  }

  #newTable(): GroupTable {
    const options = this.#options;
    return new GroupTable({
      types: options.types,
      domains: options.domains,
      pipeline: this.pipeline,
      unseen: this.#unseen,
      changes: this.changes,
      server: {
        limits: options.limits,
        now: this.#tickClock.now,
        actor: (fresh) => options.actor(fresh),
        checkMembership: (group) => options.checkMembership(group),
        builders: new RunBuilders(),
        dirty: (key) => this.#dirty(key),
        notice: (code, message, about) => this.#effects.notice(code, message, about),
      },
      read: (group) => this.#effects.load(group),
      moved: (group) => {
        if (group.phase !== "active") this.watch.forget(group);
        if (group.phase === "deleted") this.presence.forget(group);
        this.#catchUp.moved(group);
        this.#effects.moved(group);
      },
      repair: (group) => this.#repair(group),
      spread: (group) => {
        for (const peer of this.#interestedIn(group)) this.#antiEntropy.tell(peer, group, "tell");
      },
      wake: () => this.#wake(),
    });
  }

  #newHousekeeping(): Housekeeping {
    return new Housekeeping(this.#options, {
      table: this.#table,
      pipeline: this.pipeline,
      // What has changed in this tick has not been told yet.
      isBusy: (group) => this.#changed.has(group) || this.#acknowledgements.isWaiting(group),
      wake: () => this.#wake(),
      counts: this.counts,
    });
  }

  #context(): CoreContext {
    return {
      groups: this.#table.groups,
      peers: this.#peers,
      now: this.#steadyNow,
      wallNow: () => this.#options.now(),
      limits: this.#options.limits,
      isInterestedIn: (domain) => this.#table.isInterestedIn(domain),
      add: (id, ref) => this.#table.addFromPeer(id, ref),
      room: () => this.#table.room(),
      load: (group, then) => this.#table.load(group, then),
      respond: (group, prepare) => {
        this.pipeline.respond(group, prepare);
        this.#wake();
      },
      enterEpoch: (group, ref, theirs) => this.#table.enterEpoch(group, ref, theirs),
      unseen: this.#unseen,
      watch: this.watch,
      counts: this.counts,
      compared: (group, isHeld) => this.#table.compared(group, isHeld),
      comparedDomain: (...which) => this.#table.comparedDomain(...which),
      notice: (code, message, about) => this.#effects.notice(code, message, about),
    };
  }

  // Groups

  get groups(): Groups {
    return this.#table.groups;
  }

  /** The groups whose state is in memory. */
  get active(): ReadonlySet<Group> {
    return this.#table.active;
  }

  get peers(): ReadonlyMap<PeerId, Peer> {
    return this.#peers;
  }

  type(name: string): AnyCrdtType | undefined {
    return this.#table.type(name);
  }

  /** Gives the core code for a type; groups of it that were kept without code so far come alive. */
  register(type: AnyCrdtType): void {
    this.#table.register(type);
  }

  /** A group found in the catalogue. `isJournalled`: its journal holds more than the row says. */
  addStored(row: CatalogueRow, isJournalled: boolean): void {
    this.#table.addStored(row, isJournalled);
  }

  /** The group, created empty when it is not known. Throws `GROUP_DELETED`, `TYPE_CONFLICT` or `LIMIT_EXCEEDED`. */
  open(id: GroupId, type: AnyCrdtType, recreate: boolean): Group {
    return this.#table.open(id, type, recreate);
  }

  /** Makes the group active, then calls back. Not called for deleted groups, nor when loading fails. */
  load(group: Group, then: (group: Group) => void, isAwaited?: boolean): void {
    this.#table.load(group, then, isAwaited);
  }

  /** What is stored of a group that the core asked for. */
  loaded(group: Group, stored: StoredGroup | undefined): void {
    const current = stored?.row.epoch === group.epoch ? stored : undefined;
    if (!this.pipeline.located(group, current?.nextPosition ?? 0)) this.#table.loaded(group, current);
  }

  /** Takes a group that rests for loaded, as it was read; false when it must be loaded after all. */
  adopt(stored: StoredGroup): boolean {
    return this.#table.adopt(stored);
  }

  /** Nobody has the group open any more. */
  released(group: Group): void {
    this.#table.released(group);
  }

  /** Unloads the groups that nobody uses and for which there is no room; the clock does this, too. */
  unloadIdle(): void {
    this.#housekeeping.unloadIdle();
  }

  /** Nothing stored is touched: the group stays as it is on disk, and takes no part until the next start. */
  loadFailed(group: Group, error: unknown): void {
    if (!this.pipeline.notLocated(group)) this.#table.loadFailed(group, error);
  }

  /** Deletes a group for good: its next epoch is a tombstone. Calls back once that is on stable storage. */
  delete(group: Group, then: () => void): void {
    this.#table.delete(group, then);
  }

  /** Asks every peer for what is missing here. */
  #repair(group: Group): void {
    for (const peer of this.#interestedIn(group)) this.#antiEntropy.ask(peer, group);
  }

  #interestedIn({ domain }: Group): Peer[] {
    return [...this.#peers.values()].filter((peer) => peer.isInterestedIn(domain));
  }

  // Writing

  /** Throws unless own writes are taken now: `STORAGE_FAILED` or `CLOCK_SKEW`. */
  checkWritable(): void {
    this.pipeline.check();
    this.#clock.check();
  }

  /** Waits for peers to have an own event; see `Acknowledgements.expect`. */
  expectAcks(group: Group, level: PeerAckLevel, done: () => void): AckHandle {
    const issued = group.server?.issued;
    if (issued === undefined) throw new TypeError("nothing was written");
    return this.#acknowledgements.expect(group, { ...issued, ...level }, done);
  }

  #whenSynced(group: Group, then: (isDurable: boolean) => void): void {
    if (this.#options.durability(group.id) === "snapshot") return then(false);
    const ticket = this.pipeline.ticket(true);
    this.pipeline.whenCommitted(
      ticket,
      () => then(true),
      () => {},
    );
    this.#wake();
  }

  #dirty(key: string): void {
    const group = this.#table.groups.get(key);
    if (group === undefined) return;
    this.pipeline.dirty(group);
    this.#changed.add(group);
    this.#wake();
  }

  #wake(): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#tickClock.begin();
    this.#effects.wake(this.#isSending);
  }

  // Peers

  /** Someone waits for what the peers have of a group. */
  hurry(group: Group): void {
    this.#antiEntropy.hurry(group);
    this.#wake();
  }

  linkUp(link: Link): void {
    this.#protocol.linkUp(link);
    this.#wake();
  }

  linkDown(link: Link): void {
    this.#protocol.linkDown(link);
    this.#wake();
  }

  drained(link: Link): void {
    this.#protocol.drained(link);
    this.#wake();
  }

  /** A frame from a peer. One that cannot be decoded changes nothing from there on and ends the link. */
  frame(link: Link, bytes: Uint8Array): void {
    this.#backpressure.take(bytes.length);
    this.#protocol.frame(link, bytes);
    this.#wake();
  }

  /** Asks every peer whether it knows a group. See `PeerProtocol.probe`. */
  probe(key: string, typeName: string, done: (isAnswered: boolean) => void): () => void {
    const stop = this.#protocol.probe(key, typeName, done);
    this.#wake();
    return stop;
  }

  /** Compares a group with every interested peer; returns how to stop, which calls back with what is known by then. */
  verify(group: Group, done: (verdicts: ReadonlyMap<PeerId, Verdict>) => void): () => void {
    const stop = this.#verification.ask(group, done);
    this.#wake();
    return stop;
  }

  /** Asks the other members of a roster what they know of a group; returns how to stop. See `Stability`. */
  stability(group: Group, members: readonly PeerId[], done: (report: StabilityReport) => void): () => void {
    const stop = this.#stability.ask(group, members, done);
    this.#wake();
    return stop;
  }

  /** Brings a group up to a point, then calls back; returns how to stop. See `CatchUp`. */
  reach(group: Group, point: Point, done: () => void): () => void {
    const stop = this.#catchUp.reach(group, point, done);
    this.#wake();
    return stop;
  }

  /** Brings a group up to what its members know now, then calls back. See `MemberReads`. */
  readFrom(group: Group, level: ReadLevel, done: () => void): ReadHandle {
    const handle = this.#reads.ask(group, level, done);
    this.#wake();
    return handle;
  }

  // Time

  /** Call about every 100 ms: heartbeats, comparison with a random peer, snapshots that are due. */
  tick(): void {
    const now = this.#steadyNow();
    if (now >= this.#nextHeartbeatAt) {
      this.#nextHeartbeatAt = now + this.#options.heartbeatMs;
      this.#protocol.greetAgain();
      this.#gossip.heartbeat();
      this.#acknowledgements.resend();
      this.presence.tick();
      this.broadcasts.tick();
      this.#antiEntropy.pullPending(this.#table.active, this.#options.random);
      this.#gossip.pullDeferred();
      this.#antiEntropy.tick();
      this.#catchUp.tick();
      this.#reads.tick();
      this.#clock.tick();
      this.pipeline.retry();
    }
    if (now >= this.#nextSyncAt) {
      this.#nextSyncAt = now + this.#options.syncIntervalMs;
      this.#syncWithRandomPeer();
    }
    this.#housekeeping.snapshotsDue();
    if (now >= this.#nextUnloadAt) {
      this.#nextUnloadAt = now + this.#options.heartbeatMs;
      this.#housekeeping.unloadIdle();
    }
    this.#wake();
  }

  #syncWithRandomPeer(): void {
    const peers = [...this.#peers.values()].filter((peer) => peer.hello !== undefined);
    const peer = peers[Math.floor(this.#options.random() * peers.length)];
    if (peer === undefined) return;
    this.#antiEntropy.begin(peer);
    this.#exchange.tell(peer);
  }

  /** A snapshot of the group, unless nothing changed since the last. */
  requestSnapshot(group: Group): void {
    this.#housekeeping.requestSnapshot(group);
  }

  /** Ends the tick, if one has begun. */
  endTick(): void {
    if (this.#isAwake) this.flush();
  }

  /** Everything changed in this tick is told, committed and sent. */
  flush(): void {
    this.#isAwake = false;
    this.#tickClock.end();
    const changed = [...this.#changed];
    this.#changed.clear();
    // What came from peers is told before anything else is done with it; what was written here leaves before it is told.
    for (const group of changed) this.#tell(group, true);
    this.pipeline.flush();
    if (this.pipeline.isIdle) this.#backpressure.release();
    for (const group of changed) this.#catchUp.moved(group);
    this.#send();
    for (const group of changed) this.#tell(group, false);
  }

  #tell(group: Group, onlyRemote: boolean): void {
    const changes = group.server?.takeChanges(onlyRemote);
    if (changes !== undefined && changes.size > 0) this.#effects.changed(group, changes);
  }

  /** The commit that the core asked for is done, or has failed. */
  committed(failure?: unknown): void {
    this.pipeline.committed(failure);
    this.#backpressure.release();
    this.#send();
  }

  #send(): void {
    this.#isSending = true;
    for (const peer of this.#peers.values()) {
      for (const key of peer.flush((link, frame) => this.#effects.send(link, frame))) {
        const group = this.#table.groups.get(key);
        if (group !== undefined) this.#antiEntropy.tell(peer, group, "tell");
      }
      this.#antiEntropy.resume(peer);
    }
    this.#isSending = false;
  }
}
