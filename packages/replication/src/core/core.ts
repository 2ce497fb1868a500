import type { Actor, AnyCrdtType } from "@coppice/crdt";
import { type CatalogueRow, type GroupCommit, type GroupId, type StoredGroup, encodeGroupId } from "@coppice/storage";
import { ReplicationError } from "../error.ts";
import type { Link, PeerId } from "../transport.ts";
import { type AckHandle, Acknowledgements } from "./acknowledgements.ts";
import { AntiEntropy } from "./anti-entropy.ts";
import { CommitPipeline, type Durability } from "./commit-pipeline.ts";
import type { CoreContext } from "./context.ts";
import { DomainIndex } from "./domain-index.ts";
import { Gossip } from "./gossip.ts";
import { Group, emptyMeta } from "./group.ts";
import type { Limits } from "./limits.ts";
import type { GroupRef } from "./messages.ts";
import type { Peer } from "./peer.ts";
import { PeerProtocol } from "./peer-protocol.ts";
import { type Changes, ReplicationServer, type ServerEnvironment } from "./replication-server.ts";

/** What the core asks of the world. None of these may call back into the core before they return. */
export interface CoreEffects {
  /** Sends a frame; false when the link wants no more until `drained`. */
  send(link: Link, frame: Uint8Array): boolean;
  /** Ends the link to a peer that breaks the protocol. */
  drop(peer: PeerId): void;
  /** Call `flush` at the end of this tick. */
  wake(): void;
  /** Read what is stored of a group, then call `loaded`. */
  load(group: Group): void;
  /** Write atomically (and sync), then call `committed`. */
  commit(commit: GroupCommit, sync: boolean): void;
  /** The group's state changed since the last call. */
  changed(group: Group, changes: Changes): void;
  /** Something about the group's phase or comparison with peers changed. */
  moved(group: Group): void;
  notice(code: string, message: string, peer?: PeerId): void;
}

export interface CoreOptions {
  readonly effects: CoreEffects;
  /** This node's id. */
  readonly self: PeerId;
  /** The wall clock, in Unix milliseconds. */
  now(): number;
  /** A random number below 1. */
  random(): number;
  /** The actor of this process; with `fresh`, a new incarnation that was never used. */
  actor(fresh: boolean): Actor;
  readonly types: readonly AnyCrdtType[];
  /** The domains that this node replicates; undefined means all. */
  readonly domains: readonly string[] | undefined;
  durability(id: GroupId): Durability;
  readonly limits: Limits;
  readonly syncIntervalMs: number;
  readonly heartbeatMs: number;
  /** Undefined: snapshots only when asked for, when a journal grows long, and at the end. */
  readonly snapshotIntervalMs: number | undefined;
}

/**
 * A node without its I/O: groups, peers and what passes between them. Inputs are method calls (`frame`, `linkUp`,
 * `loaded`, `committed`, `tick`, `flush`, and the writes of its replicas); outputs are calls of `CoreEffects`.
 * The same inputs in the same order give the same outputs, so a simulation runs what ships.
 */
export class Core {
  readonly #options: CoreOptions;
  readonly #effects: CoreEffects;
  readonly #types = new Map<string, AnyCrdtType>();
  readonly #groups = new Map<string, Group>();
  readonly #domains = new Map<string, DomainIndex>();
  readonly #peers = new Map<PeerId, Peer>();
  readonly #active = new Set<Group>();
  readonly #loading = new Map<Group, ((group: Group) => void)[]>();
  readonly #changed = new Set<Group>();
  readonly #environment: ServerEnvironment;
  readonly #antiEntropy: AntiEntropy;
  readonly #acknowledgements: Acknowledgements;
  readonly #gossip: Gossip;
  readonly #protocol: PeerProtocol;
  readonly pipeline: CommitPipeline;
  #nextSyncAt: number;
  #nextHeartbeatAt: number;
  #isAwake = false;

  constructor(options: CoreOptions) {
    this.#options = options;
    this.#effects = options.effects;
    for (const type of options.types) this.#types.set(type.name, type);
    this.pipeline = new CommitPipeline({
      now: () => options.now(),
      durability: (group) => options.durability(group.id),
      commit: (commit, sync) => this.#effects.commit(commit, sync),
      publish: (group, fresh) => this.#gossip.publish(group, fresh),
      changed: (group) => this.#index(group),
      notice: (code, message) => this.#effects.notice(code, message),
    });
    this.#environment = {
      limits: options.limits,
      now: () => options.now(),
      actor: (fresh) => options.actor(fresh),
      dirty: (key) => this.#dirty(key),
      notice: (code, message) => this.#effects.notice(code, message),
    };
    const context = this.#context();
    this.#acknowledgements = new Acknowledgements(context, {
      whenSynced: (group, then) => this.#whenSynced(group, then),
    });
    this.#antiEntropy = new AntiEntropy(context, this.#acknowledgements);
    this.#gossip = new Gossip(context, this.#antiEntropy, this.#acknowledgements, options);
    this.#protocol = new PeerProtocol(context, this.#peers, {
      self: options.self,
      domains: options.domains,
      limits: options.limits,
      gossip: this.#gossip,
      antiEntropy: this.#antiEntropy,
      acknowledgements: this.#acknowledgements,
      drop: (peer) => this.#effects.drop(peer),
    });
    this.#nextHeartbeatAt = options.now() + options.heartbeatMs;
    this.#nextSyncAt = options.now() + options.syncIntervalMs;
  }

  #context(): CoreContext {
    return {
      groups: this.#groups,
      peers: this.#peers,
      domains: this.#domains,
      now: () => this.#options.now(),
      random: () => this.#options.random(),
      type: (name) => this.#types.get(name),
      isInterestedIn: (domain) => this.#isInterestedIn(domain),
      add: (id, ref) => this.#addFromPeer(id, ref),
      load: (group, then) => this.load(group, then),
      respond: (group, prepare) => {
        this.pipeline.respond(group, prepare);
        this.#wake();
      },
      enterEpoch: (group, ref) => this.#enterEpoch(group, ref),
      compared: (group) => this.#compared(group),
      comparedDomain: (domain) => {
        for (const group of this.#active) if (group.domain === domain) this.#compared(group);
      },
      notice: (code, message, peer) => this.#effects.notice(code, message, peer),
    };
  }

  // Groups

  get groups(): ReadonlyMap<string, Group> {
    return this.#groups;
  }

  get peers(): ReadonlyMap<PeerId, Peer> {
    return this.#peers;
  }

  type(name: string): AnyCrdtType | undefined {
    return this.#types.get(name);
  }

  /** Gives the core code for a type; groups of it that were kept without code so far come alive. */
  register(type: AnyCrdtType): void {
    if (this.#types.has(type.name)) return;
    this.#types.set(type.name, type);
    for (const group of this.#active) group.server?.register(type);
  }

  /** A group found in the catalogue. `isJournalled`: its journal holds more than the row says. */
  addStored(row: CatalogueRow, isJournalled: boolean): Group {
    const key = encodeGroupId(row.id);
    const group = new Group(key, row, true);
    group.isUnsettled = isJournalled && group.phase === "stored";
    group.snapshotAt = row.snapshotAt;
    group.snapshotBytes = row.snapshotBytes;
    this.#groups.set(key, group);
    this.#index(group);
    return group;
  }

  /** The group, created empty when it is not known. Throws `GROUP_DELETED` or `TYPE_CONFLICT`. */
  open(id: GroupId, type: AnyCrdtType, recreate: boolean): Group {
    this.register(type);
    const key = encodeGroupId(id);
    const group = this.#groups.get(key);
    if (group === undefined) return this.#add(new Group(key, emptyMeta(id, key, type.name, 1), false));
    if (group.phase === "deleted") {
      if (!recreate) {
        throw new ReplicationError(
          "GROUP_DELETED",
          `group ${key} was deleted; open it with { recreate: true } to start anew`,
        );
      }
      this.#restart(group, group.epoch + 1, type.name);
    } else if (group.typeName !== type.name) {
      const message = `group ${key} is of type ${group.typeName}, not ${type.name}; open it with its own type, or delete it`;
      throw new ReplicationError("TYPE_CONFLICT", message);
    }
    return group;
  }

  #add(group: Group): Group {
    if (this.#groups.size >= this.#options.limits.groupsMax) {
      throw new ReplicationError(
        "LIMIT_EXCEEDED",
        `this node holds ${this.#groups.size} groups, its limit (groupsMax)`,
      );
    }
    this.#groups.set(group.key, group);
    this.#index(group);
    return group;
  }

  #addFromPeer(id: GroupId, ref: GroupRef): Group | undefined {
    const group = new Group(ref.key, emptyMeta(id, ref.key, ref.type, ref.epoch), false);
    if (!this.#isInterestedIn(group.domain)) return undefined;
    this.#add(group);
    if (this.#types.get(ref.type) === undefined && group.phase !== "deleted") {
      this.#effects.notice("UNKNOWN_TYPE", `group ${ref.key} is of type ${ref.type}, which this node was not given`);
    }
    if (group.phase === "deleted") this.#storeDeletion(group);
    return group;
  }

  /** Keeps the domain's sum in step with the group's digest. */
  #index(group: Group): void {
    if (!this.#isInterestedIn(group.domain)) return;
    let domain = this.#domains.get(group.domain);
    if (domain === undefined) this.#domains.set(group.domain, (domain = new DomainIndex(group.domain)));
    domain.update(group);
  }

  #isInterestedIn(domain: string): boolean {
    return this.#options.domains?.includes(domain) ?? true;
  }

  /** Makes the group active, then calls back. Not called for deleted groups, nor when loading fails. */
  load(group: Group, then: (group: Group) => void): void {
    if (group.phase === "active") return then(group);
    if (group.phase === "deleted" || group.phase === "failed") return;
    const waiting = this.#loading.get(group) ?? [];
    waiting.push(then);
    this.#loading.set(group, waiting);
    if (group.phase === "loading") return;
    group.phase = "loading";
    if (group.isStored) this.#effects.load(group);
    else this.loaded(group, undefined);
  }

  /** What is stored of a group that the core asked for. */
  loaded(group: Group, stored: StoredGroup | undefined): void {
    if (group.phase !== "loading") return;
    const server = new ReplicationServer(this.#environment, group.key, group.meta(), this.#types.get(group.typeName));
    if (stored !== undefined) {
      try {
        server.restore(stored);
      } catch (error) {
        return this.loadFailed(group, error);
      }
      for (const { record, action, reason } of stored.damage) {
        this.#effects.notice("STORAGE_DAMAGED", `group ${group.key}: a ${record} record was ${action}: ${reason}`);
      }
    }
    group.activate(server);
    group.journalBytes = stored?.records.reduce((sum, record) => sum + record.bytes.length, 0) ?? 0;
    group.snapshotVersion = group.journalBytes > 0 ? -1 : server.version;
    group.snapshotAt = group.snapshotAt === 0 ? this.#options.now() : group.snapshotAt;
    if (server.degraded) {
      server.snapshotRequired = true;
      this.pipeline.dirty(group);
    }
    this.#active.add(group);
    this.#index(group);
    if (server.degraded || server.hasPending) this.#repair(group);
    this.#resume(group);
  }

  /** Nothing stored is touched: the group stays as it is on disk, and takes no part until the next start. */
  loadFailed(group: Group, error: unknown): void {
    group.phase = "failed";
    group.failure = error;
    this.#loading.delete(group);
    this.#effects.notice("GROUP_DEGRADED", `group ${group.key} cannot be loaded and stays untouched: ${String(error)}`);
    this.#effects.moved(group);
  }

  #resume(group: Group): void {
    const waiting = this.#loading.get(group) ?? [];
    this.#loading.delete(group);
    this.#effects.moved(group);
    for (const then of waiting) {
      try {
        then(group);
      } catch (error) {
        this.#effects.notice("MALFORMED_FRAME", `group ${group.key}: ${String(error)}`);
      }
    }
    this.#wake();
  }

  /** Asks every peer for what is missing here. */
  #repair(group: Group): void {
    for (const peer of this.#peers.values()) {
      if (peer.isInterestedIn(group.domain)) this.#antiEntropy.ask(peer, group, true);
    }
  }

  /** Deletes a group for good: its next epoch is a tombstone. Calls back once that is on stable storage. */
  delete(group: Group, then: () => void): void {
    if (group.phase === "deleted") return then();
    this.#restart(group, group.epoch + 1, group.typeName);
    this.#storeDeletion(group, () => {
      this.#repair(group);
      then();
    });
  }

  #storeDeletion(group: Group, then: () => void = () => {}): void {
    this.pipeline.delete(group.meta(), then);
    this.#wake();
  }

  #enterEpoch(group: Group, ref: GroupRef): void {
    const events = group.server?.actor === undefined ? 0 : group.vector.get(group.server.actor);
    const message = `group ${group.key} goes from epoch ${group.epoch} to ${ref.epoch}, as a peer has it`;
    this.#effects.notice("EPOCH_SUPERSEDED", `${message}; ${events} own events of this process are left behind`);
    this.#restart(group, ref.epoch, ref.type);
    if (group.phase === "deleted") this.#storeDeletion(group);
  }

  #restart(group: Group, epoch: number, typeName: string): void {
    this.pipeline.forget(group);
    this.#active.delete(group);
    this.#loading.delete(group);
    group.restart(epoch, typeName);
    this.#index(group);
    this.#effects.moved(group);
  }

  #compared(group: Group): void {
    if (group.isCompared || group.server?.hasPending) return;
    group.isCompared = true;
    this.#effects.moved(group);
  }

  // Writing

  /** Throws unless own writes are taken now. */
  checkWritable(): void {
    const { failure } = this.pipeline;
    if (failure === undefined) return;
    const message = "the storage does not take writes; own writes are refused until it does again";
    throw new ReplicationError("STORAGE_FAILED", message, { cause: failure });
  }

  /** Waits for peers to have an own event; see `Acknowledgements.expect`. */
  expectAcks(group: Group, replicas: number, durable: boolean, done: () => void): AckHandle {
    const actor = group.server?.actor;
    if (actor === undefined) throw new TypeError("nothing was written");
    return this.#acknowledgements.expect(group, { actor, seq: group.vector.get(actor), replicas, durable }, done);
  }

  #whenSynced(group: Group, then: (isDurable: boolean) => void): void {
    if (this.#options.durability(group.id) === "snapshot") return then(false);
    const ticket = this.pipeline.ticket(true);
    this.pipeline.whenCommitted(
      ticket,
      () => then(true),
      () => {},
    );
    this.pipeline.dirty(group);
    this.#wake();
  }

  #dirty(key: string): void {
    const group = this.#groups.get(key);
    if (group === undefined) return;
    this.pipeline.dirty(group);
    this.#changed.add(group);
    this.#wake();
  }

  #wake(): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#effects.wake();
  }

  // Peers

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
    this.#protocol.frame(link, bytes);
    this.#wake();
  }

  /** Asks every peer whether it knows a group, and calls back when all have answered or gone. */
  probe(key: string, typeName: string, then: () => void): void {
    this.#protocol.probe(key, typeName, then);
    this.#wake();
  }

  // Time

  /** Call about every 100 ms: heartbeats, comparison with a random peer, snapshots that are due. */
  tick(): void {
    const now = this.#options.now();
    if (now >= this.#nextHeartbeatAt) {
      this.#nextHeartbeatAt = now + this.#options.heartbeatMs;
      this.#protocol.greetAgain();
      this.#gossip.heartbeat();
      this.#acknowledgements.resend();
      this.#pullPending();
      this.pipeline.retry();
    }
    if (now >= this.#nextSyncAt) {
      this.#nextSyncAt = now + this.#options.syncIntervalMs;
      this.#syncWithRandomPeer();
    }
    this.#snapshotsDue(now);
    this.#wake();
  }

  #syncWithRandomPeer(): void {
    const peers = [...this.#peers.values()].filter((peer) => peer.hello !== undefined);
    const peer = peers[Math.floor(this.#options.random() * peers.length)];
    if (peer !== undefined) this.#antiEntropy.begin(peer);
  }

  #pullPending(): void {
    for (const group of this.#active) {
      if (!group.server?.hasPending) continue;
      for (const peer of this.#peers.values()) {
        if (peer.isInterestedIn(group.domain)) this.#antiEntropy.pull(peer, group);
      }
    }
  }

  #snapshotsDue(now: number): void {
    const { snapshotIntervalMs } = this.#options;
    if (snapshotIntervalMs === undefined) return;
    for (const group of this.#active) {
      if (now - group.snapshotAt >= snapshotIntervalMs) this.requestSnapshot(group);
    }
  }

  /** A snapshot of the group, unless nothing changed since the last. */
  requestSnapshot(group: Group): void {
    if (group.server === undefined || group.server.version === group.snapshotVersion) return;
    this.pipeline.snapshotDue(group);
    this.#wake();
  }

  /** Everything changed in this tick is told, committed and sent. */
  flush(): void {
    this.#isAwake = false;
    const changed = [...this.#changed];
    this.#changed.clear();
    this.pipeline.flush();
    for (const group of changed) {
      const changes = group.server?.takeChanges();
      if (changes !== undefined && changes.size > 0) this.#effects.changed(group, changes);
    }
    this.#send();
  }

  /** The commit that the core asked for is done, or has failed. */
  committed(failure?: unknown): void {
    this.pipeline.committed(failure);
    this.#send();
  }

  #send(): void {
    for (const peer of this.#peers.values()) peer.flush((link, frame) => this.#effects.send(link, frame));
  }
}
