import { createActor } from "@coppice/crdt";
import {
  type GroupCommit,
  type GroupId,
  type GroupStorage,
  StorageError,
  type StoredGroup,
  decodeGroupKey,
  domainOf,
  encodeGroupId,
  formatGroupId,
} from "@coppice/storage";
import { randomBytes } from "@noble/hashes/utils.js";
import { callBack } from "./callbacks.ts";
import { Core } from "./core/core.ts";
import { formatDigest } from "./core/digest.ts";
import type { NoticeSubject } from "./core/context.ts";
import type { Group, GroupView } from "./core/group.ts";
import { nodeBytes } from "./core/node-name.ts";
import type { Changes, Origin } from "./core/changes.ts";
import type { NodeEvents } from "./early-events.ts";
import { ReplicationError, closed } from "./error.ts";
import type { MetricsRegistry } from "./metrics.ts";
import { type Recorder, exportMetrics } from "./node-metrics.ts";
import { type ResolvedNodeOptions, policyOf, rosterOf } from "./node-options.ts";
import type { GroupStatus } from "./replica.ts";
import type { Link, PeerId, Transport } from "./transport.ts";
import { nextTurn } from "./waiting.ts";
import { Watchers, addWatcher } from "./watchers.ts";

/** How often the core looks at the clock. */
const TICK_MS = 100;

/** At least so many groups are taken for loaded before there is looked for room. */
const ADOPTED_MIN = 4096;

/** Peers whose addresses are remembered, linked or not. */
const ADDRESSED_MAX = 1000;

/** Told of one origin's changes of a group. */
export type Watcher = (origin: Origin, keys: ReadonlySet<string>) => void;

/** A peer came or went. */
export type PeerEvent = "join" | "leave";

/** The I/O around a core: carries out its effects on a storage, a transport and timers, and tells who waits. */
export class Driver {
  readonly core: Core;
  readonly storage: GroupStorage;
  readonly #options: ResolvedNodeOptions;
  readonly #watchers = new Map<Group, Watchers<Watcher>>();
  readonly #presenceWatchers = new Map<Group, Watchers<() => void>>();
  readonly #broadcastWatchers = new Map<Group, Watchers<(message: Uint8Array, origin: PeerId) => void>>();
  readonly #deletionWatchers = new Map<Group, Watchers<() => void>>();
  readonly #peerWatchers = new Watchers<(event: PeerEvent, peer: PeerId) => void>();
  readonly #groupWatchers = new Watchers<(groups: readonly GroupId[]) => void>();
  /** Of the groups that those are still to be told of. */
  readonly #changedKeys = new Set<string>();
  readonly #waiters = new Map<Group, Watchers<() => void>>();
  /** Where the peers seen in this run said last that they can be dialled; latest first. */
  readonly #addresses = new Map<PeerId, readonly string[]>();
  readonly #recorders: Recorder[] = [];
  /** Since the start. */
  readonly traffic: { framesIn: number; framesOut: number; bytesIn: number; bytesOut: number } = {
    framesIn: 0,
    framesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
  };
  /** Notices since the start, by code. */
  readonly noticed: Map<string, number> = new Map();
  loads = 0;
  /** Groups taken for loaded since there was last looked for room. */
  #adopted = 0;
  readonly #stopWatchers = new Set<() => void>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #isStopped = false;

  constructor(options: ResolvedNodeOptions, storage: GroupStorage, id: PeerId) {
    this.#options = options;
    this.storage = storage;
    const node = nodeBytes(id);
    const processActor = createActor(node, randomBytes(8));
    this.core = new Core({
      self: id,
      effects: {
        send: (link, frame) => {
          this.traffic.framesOut++;
          this.traffic.bytesOut += frame.length;
          return this.transport().send(link, frame);
        },
        pause: (link) => this.transport().pause(link),
        resume: (link) => this.transport().resume(link),
        drop: (peer) => void this.transport().disconnect(peer),
        wake: (isLong) => {
          if (isLong) void nextTurn().then(() => this.core.endTick());
          else queueMicrotask(() => this.core.endTick());
        },
        load: (group) => void this.#load(group),
        commit: (commit, sync) => void this.#commit(commit, sync),
        changed: (group, changes) => this.#tell(group, changes),
        presenceChanged: (group) => {
          for (const watcher of this.#presenceWatchers.get(group) ?? []) this.#guard(group, watcher);
        },
        broadcast: (group, message, origin) => {
          for (const watcher of this.#broadcastWatchers.get(group) ?? [])
            this.#guard(group, () => watcher(message, origin));
        },
        moved: (group) => {
          for (const check of this.#waiters.get(group) ?? []) check();
          for (const check of this.#deletionWatchers.get(group) ?? []) check();
        },
        discovered: (addresses) => {
          if (options.peerExchange) this.transport().discovered(addresses, "peers");
        },
        notice: (code, message, about) => this.notice(code, message, about),
      },
      now: options.now,
      random: Math.random,
      actor: (fresh) => (fresh ? createActor(node, randomBytes(8)) : processActor),
      checkMembership: (group) => void rosterOf(options, domainOf(group), id),
      types: options.types,
      domains: options.domains,
      durability: (group) => {
        if (!storage.durability(group).durable) return "snapshot";
        return policyOf(options, domainOf(group)).durability ?? "log";
      },
      limits: options.limits,
      syncIntervalMs: options.syncIntervalMs,
      heartbeatMs: options.heartbeatMs,
      snapshotIntervalMs: (domain) => policyOf(options, domain).snapshotIntervalMs,
      idleGraceMs: options.idleGraceMs,
    });
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Starts the clock. */
  start(): void {
    this.#timer = setInterval(() => this.core.tick(), TICK_MS);
    this.#timer.unref?.();
  }

  stopClock(): void {
    clearInterval(this.#timer);
  }

  /** From here on everything that waits for a group fails with `CLOSED`, and documents are edited in vain. */
  stop(): void {
    this.#isStopped = true;
    for (const group of this.core.active) group.server?.dispose();
    for (const checks of this.#waiters.values()) for (const check of checks) check();
    for (const stop of this.#stopWatchers) stop();
  }

  /** Calls back when the node closes; returns how to stop that. */
  onStop(fn: () => void): () => void {
    this.#stopWatchers.add(fn);
    return () => void this.#stopWatchers.delete(fn);
  }

  /**
   * The catalogue first: then the node can serve. Groups with a journal tail, and those that lost something and need their
   * peers, are loaded next, in the background.
   */
  async list(signal: AbortSignal | undefined): Promise<void> {
    const first: string[] = [];
    const options = { deleted: true, journalled: true, ...(signal !== undefined && { signal }) };
    for await (const rows of this.storage.listGroups(options)) {
      for (const row of rows) {
        this.core.addStored(row, row.isJournalled === true);
        if (row.isJournalled || row.degraded) first.push(row.key);
      }
    }
    for (const key of first) {
      const group = this.core.groups.get(key);
      if (group?.phase === "stored") this.core.load(group, () => {});
    }
  }

  /** Tells every figure of this node to a registry, from now on. */
  exportMetrics(registry: MetricsRegistry): void {
    this.#recorders.push(exportMetrics(this, registry));
  }

  async #commit(commit: GroupCommit, sync: boolean): Promise<void> {
    const startedAt = performance.now();
    let failure: unknown;
    try {
      await this.storage.commit(commit, { sync });
    } catch (error) {
      failure = error ?? new Error("the commit failed");
    }
    const events = commit.records?.reduce((sum, { count }) => sum + count, 0) ?? 0;
    for (const recorder of this.#recorders) {
      recorder.commitSeconds((performance.now() - startedAt) / 1000);
      if (events > 0) recorder.commitEvents(events);
    }
    this.core.committed(failure);
  }

  async #load(group: Group): Promise<void> {
    try {
      this.loads++;
      const startedAt = performance.now();
      const stored = await this.storage.load(group.id);
      const ms = performance.now() - startedAt;
      for (const recorder of this.#recorders) recorder.loadSeconds(ms / 1000);
      this.#options.logger.debug({ event: "group-loaded", group: formatGroupId(group.id), ms }, "a group was loaded");
      this.core.loaded(group, stored);
    } catch (error) {
      // Nobody waits any more for what a storage did not read because it closes.
      const isClosed = error instanceof StorageError && error.code === "NOT_OPEN";
      if (!this.#isStopped || !isClosed) this.core.loadFailed(group, error);
    }
  }

  /** Takes the groups of a page that rest for loaded; returns their keys. */
  adopt(page: readonly StoredGroup[]): readonly string[] {
    const keys: string[] = [];
    for (const stored of page) if (this.core.adopt(stored)) keys.push(stored.row.key);
    this.loads += keys.length;
    // The clock would unload what there is no room for too late.
    this.#adopted += keys.length;
    if (this.#adopted >= Math.max(ADOPTED_MIN, this.core.active.size / 4)) {
      this.#adopted = 0;
      this.core.unloadIdle();
    }
    return keys;
  }

  transport(): Transport {
    const { transport } = this.#options;
    if (transport === undefined) {
      throw new ReplicationError("INVALID_OPTIONS", "this node was made without a transport");
    }
    return transport;
  }

  /** What the events of transport and storage lead to. */
  events(): NodeEvents {
    return {
      linkUp: (link: Link) => {
        this.#noteAddresses(link);
        const isNew = !this.core.peers.has(link.peer);
        this.core.linkUp(link);
        if (isNew) this.#tellPeers("join", link.peer);
      },
      linkDown: (link: Link) => {
        this.core.linkDown(link);
        if (!this.core.peers.has(link.peer)) this.#tellPeers("leave", link.peer);
      },
      frame: (link, bytes) => {
        this.traffic.framesIn++;
        this.traffic.bytesIn += bytes.length;
        this.core.frame(link, bytes);
      },
      delivered: () => this.core.endTick(),
      drained: (link) => this.core.drained(link),
      notice: (code, message, peer) => this.notice(code, message, peer === undefined ? {} : { peer }),
      damaged: ({ id, record, action, reason }) => {
        const what = id === undefined ? "the storage" : `group ${formatGroupId(id)}`;
        const one = record === "engine" ? "a file of the engine" : `a ${record} record`;
        const message = `${what}: ${one} was ${action}: ${reason}`;
        this.notice("STORAGE_DAMAGED", message, id === undefined ? {} : { group: id });
      },
    };
  }

  #noteAddresses({ peer, addresses }: Link): void {
    this.#addresses.delete(peer);
    this.#addresses.set(peer, addresses);
    if (this.#addresses.size <= ADDRESSED_MAX) return;
    const [oldest] = this.#addresses.keys();
    if (oldest !== undefined) this.#addresses.delete(oldest);
  }

  /** Tells the operator, and the log. */
  notice(code: string, message: string, about: NoticeSubject = {}): void {
    const { logger, onNotice } = this.#options;
    this.noticed.set(code, (this.noticed.get(code) ?? 0) + 1);
    const group = about.group === undefined ? {} : { group: formatGroupId(about.group) };
    const peer = about.peer === undefined ? {} : { peer: about.peer };
    logger[isGoodNews(code) ? "info" : "warn"]({ code, ...group, ...peer }, message);
    callBack(
      () => onNotice({ code, message, ...about }),
      (error) => logger.error({ event: "listener-failed", code }, `onNotice threw: ${String(error)}`),
    );
  }

  #tell(group: Group, changes: Changes): void {
    for (const [origin, keys] of changes) {
      for (const watcher of this.#watchers.get(group) ?? []) this.#guard(group, () => watcher(origin, keys));
    }
  }

  #guard(group: Group, fn: () => void): void {
    callBack(fn, (error) => {
      this.notice("SUBSCRIBER_FAILED", `a subscriber of ${formatGroupId(group.id)} threw: ${String(error)}`, {
        group: group.id,
      });
    });
  }

  #tellPeers(event: PeerEvent, peer: PeerId): void {
    this.#options.logger.info(
      { event: `peer-${event}`, peer },
      event === "join" ? `linked to ${peer}` : `the link to ${peer} is gone`,
    );
    for (const watcher of this.#peerWatchers) {
      callBack(
        () => watcher(event, peer),
        (error) => this.notice("SUBSCRIBER_FAILED", `a watcher of peers threw: ${String(error)}`),
      );
    }
  }

  watch(group: Group, watcher: Watcher): () => void {
    const stop = addWatcher(this.#watchers, group, watcher);
    const count = (): void => {
      group.watchers = this.#watchers.get(group)?.size ?? 0;
    };
    count();
    return () => {
      stop();
      count();
    };
  }

  watchPresence(group: Group, watcher: () => void): () => void {
    return addWatcher(this.#presenceWatchers, group, watcher);
  }

  watchBroadcasts(group: Group, watcher: (message: Uint8Array, origin: PeerId) => void): () => void {
    return addWatcher(this.#broadcastWatchers, group, watcher);
  }

  /** Each deletion is told once, and after what led to it; one that a peer has already undone is, too. */
  watchDeletion(group: Group, watcher: () => void): () => void {
    let told = deletionsOf(group);
    let isWatched = true;
    const stop = addWatcher(this.#deletionWatchers, group, () => {
      if (deletionsOf(group) === told) return;
      told = deletionsOf(group);
      queueMicrotask(() => {
        if (isWatched) this.#guard(group, watcher);
      });
    });
    return () => {
      isWatched = false;
      stop();
    };
  }

  /** Calls back with the groups that have changed, those of a turn together. */
  watchGroups(watcher: (groups: readonly GroupId[]) => void): () => void {
    const stop = this.#groupWatchers.add(watcher);
    this.core.changes.onNote = (key) => {
      if (this.#changedKeys.size === 0) queueMicrotask(() => this.#tellGroups());
      this.#changedKeys.add(key);
    };
    return () => {
      stop();
      if (this.#groupWatchers.size === 0) this.core.changes.onNote = undefined;
    };
  }

  #tellGroups(): void {
    const groups = [...this.#changedKeys].map(decodeGroupKey);
    this.#changedKeys.clear();
    for (const watcher of this.#groupWatchers) {
      callBack(
        () => watcher(groups),
        (error) => this.notice("SUBSCRIBER_FAILED", `a watcher of groups threw: ${String(error)}`),
      );
    }
  }

  watchPeers(watcher: (event: PeerEvent, peer: PeerId) => void): () => void {
    return this.#peerWatchers.add(watcher);
  }

  /** Waits until a condition on a group holds, with `timeoutMs` no longer than that. Rejects with `CLOSED`. */
  until(group: Group, holds: () => boolean, signal: AbortSignal | undefined, timeoutMs?: number): Promise<void> {
    if (holds()) return Promise.resolve();
    if (this.#isStopped) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => end(resolve), timeoutMs);
      const end = (then: () => void): void => {
        clearTimeout(timer);
        remove();
        signal?.removeEventListener("abort", abort);
        then();
      };
      const abort = (): void => end(() => reject(signal?.reason));
      const remove = addWatcher(this.#waiters, group, () => {
        if (this.#isStopped) end(() => reject(closed()));
        else if (holds()) end(resolve);
      });
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** How a group stands here. */
  status(group: GroupView): GroupStatus {
    const lag = this.core.watch.lag(group);
    const traffic = this.core.watch.traffic(group);
    return {
      id: group.id,
      key: group.key,
      domain: group.domain,
      type: group.typeName,
      isKnownType: this.core.type(group.typeName) !== undefined,
      epoch: group.epoch,
      phase: group.phase,
      digest: formatDigest(group.digest()),
      events: group.vector.total(),
      get vector() {
        return group.vector.toJSON();
      },
      pendingBytes: group.server?.pending.bytes ?? 0,
      pendingEvents: group.server?.pending.events ?? 0,
      orphanedEvents: traffic.orphaned,
      lagEvents: lag.events,
      lagMs: lag.ms,
      isStuck: lag.isStuck,
      comparedAt: this.core.watch.comparedAt(group),
      bytesIn: traffic.bytesIn,
      bytesOut: traffic.bytesOut,
      snapshotAt: group.snapshotBytes > 0 ? group.snapshotAt : 0,
      snapshotBytes: group.snapshotBytes,
      journalBytes: group.journalBytes,
      degraded: group.isDegraded,
      isPaused: group.isPaused,
      isCompared: group.isCompared,
    };
  }

  /** Addresses worth dialling in the next run, latest first; of `former` those of peers not seen in this one. */
  knownAddresses(former: readonly string[]): string[] {
    const seen = [...this.#addresses.keys()];
    const unseen = former.filter((address) => !seen.some((peer) => address.endsWith(`/${peer}`)));
    return [...[...this.#addresses.values()].toReversed().flat(), ...unseen];
  }

  /** Waits until everything written so far is committed. Rejects with `STORAGE_FAILED`. */
  async settled(): Promise<void> {
    await this.committed();
    this.core.pipeline.check();
  }

  /** The storage, with all that was told of so far, unless it takes nothing. */
  async committed(): Promise<GroupStorage> {
    // Whoever is told something may ask from within: a change that is under way is completed first.
    await Promise.resolve();
    this.core.flush();
    await new Promise<void>((resolve) => this.core.pipeline.whenSettled(resolve));
    return this.storage;
  }

  /** Waits for what is still to be committed; nothing is after it. */
  async finished(): Promise<void> {
    await this.committed();
    this.core.pipeline.end();
  }

  /** A group that is known here. Throws `UNKNOWN_GROUP`. */
  known(id: GroupId): Group {
    return this.core.groups.get(encodeGroupId(id)) ?? unknown(id);
  }

  /** The same by its key, to look at. Throws `UNKNOWN_GROUP`. */
  view(key: string): GroupView {
    return this.core.groups.view(key) ?? unknown(decodeGroupKey(key));
  }
}

/** Notices that something is well again. */
function isGoodNews(code: string): boolean {
  return code === "STORAGE_RECOVERED" || code === "UNSTUCK";
}

function unknown(id: GroupId): never {
  throw new ReplicationError("UNKNOWN_GROUP", `no group ${formatGroupId(id)} is known here`);
}

/** How often a group was deleted: epochs are odd while it lives, even once it is deleted. */
function deletionsOf({ epoch }: Group): number {
  return epoch >> 1;
}
