import { type Actor, type AnyCrdtType, type CrdtType, createActor } from "@coppice/crdt";
import { type GroupId, type GroupStorage, encodeGroupId, encodeGroupPrefix, formatGroupId } from "@coppice/storage";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, randomBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { Core } from "./core/core.ts";
import { formatDigest } from "./core/digest.ts";
import type { Group } from "./core/group.ts";
import type { Changes, Origin } from "./core/replication-server.ts";
import { ReplicationError } from "./error.ts";
import { EarlyEvents } from "./early-events.ts";
import { GroupHost } from "./group-host.ts";
import { type NodeOptions, type ResolvedNodeOptions, resolveOptions } from "./node-options.ts";
import { type RecoverOptions, type RecoveryReport, recoverGroups } from "./recovery.ts";
import { type GroupStatus, Replica } from "./replica.ts";
import { openStorage } from "./node-storage.ts";
import type { Link, LinkEnd, PeerId, Transport, TransportEvents } from "./transport.ts";

/** How often the core looks at the clock. */
const TICK_MS = 100;
/** How long `open` waits for peers to say whether they know a group. */
const PROBE_MS = 500;
/** A node without any link counts as alone after this time: `synced` waits no longer. */
const ALONE_AFTER_MS = 2000;

/** A linked peer, as this node sees it. */
export interface PeerStatus {
  readonly id: PeerId;
  readonly addresses: readonly string[];
  /** The domains it is interested in; undefined means all. */
  readonly domains: readonly string[] | undefined;
  /** Events received from it that were new here. */
  readonly events: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes that wait to be sent to it. */
  readonly queueBytes: number;
  /** When contents were last compared with it, in Unix milliseconds; 0 for not yet. */
  readonly lastSyncAt: number;
}

/**
 * Starts a node: opens its storage, lists the stored groups and starts the transport; groups are loaded when needed.
 *
 * Rejects with `ReplicationError` `INVALID_OPTIONS`, `BAD_ADDRESS`, with `StorageError` `LOCKED` when another process
 * uses the storage, `IO` or `CORRUPT` when it cannot be read; on abort with the signal's reason. Nothing stays open then.
 */
export async function createNode(options: NodeOptions, { signal }: { signal?: AbortSignal } = {}): Promise<Node> {
  const resolved = resolveOptions(options);
  const storage = await openStorage(options.storage, signal);
  try {
    return await Node.start(resolved, storage, signal);
  } catch (error) {
    await resolved.transport?.stop().catch(() => {});
    await storage.close().catch(() => {});
    throw error;
  }
}

/** A running node: its groups, its peers, its storage. Made by {@link createNode}. */
export class Node implements AsyncDisposable {
  /** The node's id; with libp2p its peer id. */
  readonly id: PeerId;
  /** 16 hexadecimal digits, fresh for each start. */
  readonly incarnation: string;
  readonly #options: ResolvedNodeOptions;
  readonly #storage: GroupStorage;
  readonly #core: Core;
  readonly #startedAt: number;
  readonly #watchers = new Map<Group, Set<(origin: Origin, keys: ReadonlySet<string>) => void>>();
  readonly #movedWaiters = new Map<Group, Set<() => void>>();
  readonly #addresses = new Set<string>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /** Used by {@link createNode}. */
  static async start(options: ResolvedNodeOptions, storage: GroupStorage, signal?: AbortSignal): Promise<Node> {
    const record = await storage.readNode();
    const incarnation = bytesToHex(randomBytes(8));
    const early = new EarlyEvents();
    const { events } = early;
    const id =
      (await options.transport?.start(
        {
          events,
          incarnation,
          readSecret: (name) => storage.readSecret(name),
          writeSecret: (name, bytes) => storage.writeSecret(name, bytes),
        },
        signal === undefined ? {} : { signal },
      )) ??
      record?.nodeId ??
      bytesToHex(randomBytes(16));
    const peers = record?.peers ?? [];
    await storage.writeNode({ nodeId: id, starts: (record?.starts ?? 0) + 1, clean: false, peers });
    const started = new Node(options, storage, id, incarnation);
    await started.#list(signal);
    early.attach(started.#events());
    started.#timer = setInterval(() => started.#core.tick(), TICK_MS);
    started.#timer.unref();
    return started;
  }

  private constructor(options: ResolvedNodeOptions, storage: GroupStorage, id: PeerId, incarnation: string) {
    this.id = id;
    this.incarnation = incarnation;
    this.#options = options;
    this.#storage = storage;
    this.#startedAt = Date.now();
    const nodeBytes = sha256(utf8ToBytes(id)).slice(0, 8);
    const processActor = createActor(nodeBytes, randomBytes(8));
    this.#core = new Core({
      self: id,
      effects: {
        send: (link, frame) => this.#transport().send(link, frame),
        drop: (peer) => void this.#transport().disconnect(peer),
        wake: () => queueMicrotask(() => this.#core.flush()),
        load: (group) => void this.#load(group),
        commit: (commit, sync) => {
          storage.commit(commit, { sync }).then(
            () => this.#core.committed(),
            (error: unknown) => this.#core.committed(error),
          );
        },
        changed: (group, changes) => this.#tell(group, changes),
        moved: (group) => {
          for (const check of this.#movedWaiters.get(group) ?? []) check();
        },
        notice: (code, message, peer) => this.#notice(code, message, peer),
      },
      now: options.now,
      random: Math.random,
      actor: (fresh): Actor => (fresh ? createActor(nodeBytes, randomBytes(8)) : processActor),
      types: options.types,
      domains: options.domains,
      durability: (group) => {
        const { durable } = storage.durability(group);
        return durable ? (options.durability ?? "log") : "snapshot";
      },
      limits: options.limits,
      syncIntervalMs: options.syncIntervalMs,
      heartbeatMs: options.heartbeatMs,
      snapshotIntervalMs: options.snapshotIntervalMs,
      idleGraceMs: options.idleGraceMs,
    });
  }

  /** The catalogue first: then the node can serve. Groups with a journal tail are loaded next, in the background. */
  async #list(signal: AbortSignal | undefined): Promise<void> {
    const journalled = new Set<string>();
    const options = signal === undefined ? {} : { signal };
    for await (const ids of this.#storage.listJournalled(options))
      for (const id of ids) journalled.add(encodeGroupId(id));
    for await (const rows of this.#storage.listGroups({ deleted: true, ...options })) {
      for (const row of rows) this.#core.addStored(row, journalled.has(encodeGroupId(row.id)));
    }
    for (const group of this.#core.groups.values()) if (group.isUnsettled) this.#core.load(group, () => {});
  }

  async #load(group: Group): Promise<void> {
    try {
      const stored = await this.#storage.load(group.id);
      this.#core.loaded(group, stored);
    } catch (error) {
      this.#core.loadFailed(group, error);
    }
  }

  #transport(): Transport {
    const { transport } = this.#options;
    if (transport === undefined)
      throw new ReplicationError("INVALID_OPTIONS", "this node was made without a transport");
    return transport;
  }

  #events(): TransportEvents {
    return {
      linkUp: (link: Link) => {
        for (const address of link.addresses) this.#addresses.add(address);
        this.#core.linkUp(link);
      },
      linkDown: (link: Link, _reason: LinkEnd) => this.#core.linkDown(link),
      frame: (link: Link, bytes: Uint8Array) => this.#core.frame(link, bytes),
      drained: (link: Link) => this.#core.drained(link),
      notice: (code, message, peer) => this.#notice(code, message, peer),
    };
  }

  #notice(code: string, message: string, peer?: PeerId): void {
    this.#options.onNotice(peer === undefined ? { code, message } : { code, message, peer });
  }

  #tell(group: Group, changes: Changes): void {
    for (const [origin, keys] of changes) {
      for (const watcher of this.#watchers.get(group) ?? []) {
        try {
          watcher(origin, keys);
        } catch (error) {
          this.#notice("SUBSCRIBER_FAILED", `a subscriber of ${formatGroupId(group.id)} threw: ${String(error)}`);
        }
      }
    }
  }

  /** Where this node can be dialled. */
  addresses(): readonly string[] {
    return this.#options.transport?.addresses() ?? [];
  }

  /**
   * Opens a group: loads it when it is stored here, asks the linked peers about it when it is not, and creates it
   * when nobody knows it. Its value may lack what peers have until `replica.synced()` resolves.
   *
   * Rejects with `CLOSED`; `INVALID_GROUP_ID` (`StorageError`); `TYPE_CONFLICT` when the group has another type;
   * `GROUP_DELETED` unless `recreate`; `GROUP_DEGRADED` when what is stored cannot be read; `LIMIT_EXCEEDED`.
   */
  async open<Value, Mutator extends View, View>(
    id: GroupId,
    // oxlint-disable-next-line typescript/no-explicit-any -- the state is the type's own business
    type: CrdtType<any, Value, Mutator, View>,
    options: { recreate?: boolean; signal?: AbortSignal } = {},
  ): Promise<Replica<Value, Mutator, View>> {
    this.#checkOpen();
    const key = encodeGroupId(id);
    const isUnknownToAll = !this.#core.groups.has(key) && (await this.#probe(key, type.name, options.signal));
    this.#checkOpen();
    const group = this.#core.open(id, type, options.recreate ?? false);
    await this.#active(group, options.signal);
    if (isUnknownToAll && group.vector.size === 0) group.isCompared = true;
    return new Replica<Value, Mutator, View>(group.id, type, this.#host(group, type));
  }

  /** Asks the linked peers about a group; returns whether there were any, and none knows it. */
  async #probe(key: string, typeName: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#core.peers.size === 0) return false;
    const isAnswered = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), PROBE_MS);
      const abort = (): void => resolve(false);
      signal?.addEventListener("abort", abort, { once: true });
      this.#core.probe(key, typeName, () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        resolve(true);
      });
    });
    signal?.throwIfAborted();
    return isAnswered && !this.#core.groups.has(key);
  }

  async #active(group: Group, signal: AbortSignal | undefined): Promise<void> {
    this.#core.load(group, () => {});
    await this.#until(group, () => group.phase !== "loading" && group.phase !== "stored", signal);
    if (group.phase === "failed") {
      const message = `group ${formatGroupId(group.id)} is stored here but cannot be read; it stays as it is: run "coppice check"`;
      throw new ReplicationError("GROUP_DEGRADED", message, { cause: group.failure });
    }
  }

  /** Waits until a condition on a group holds. */
  #until(group: Group, holds: () => boolean, signal: AbortSignal | undefined, timeoutMs?: number): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const checks = this.#movedWaiters.get(group) ?? new Set();
      this.#movedWaiters.set(group, checks);
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => end(resolve), timeoutMs);
      const end = (then: () => void): void => {
        clearTimeout(timer);
        checks.delete(check);
        if (checks.size === 0) this.#movedWaiters.delete(group);
        signal?.removeEventListener("abort", abort);
        then();
      };
      const check = (): void => {
        if (this.#isClosed) end(() => reject(closed()));
        else if (holds()) end(resolve);
      };
      const abort = (): void => end(() => reject(signal?.reason));
      checks.add(check);
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort, { once: true });
    });
  }

  #host(group: Group, type: AnyCrdtType): GroupHost {
    return new GroupHost(group, type, this.#core, {
      isClosed: () => this.#isClosed,
      durability: () => this.#storage.durability(group.id),
      mode: this.#options.durability,
      status: () => this.#status(group),
      synced: (signal) => this.#synced(group, signal),
      watch: (fn) => this.#watch(group, fn),
    });
  }

  #watch(group: Group, fn: (origin: Origin, keys: ReadonlySet<string>) => void): () => void {
    const watchers = this.#watchers.get(group) ?? new Set();
    this.#watchers.set(group, watchers);
    watchers.add(fn);
    group.watchers = watchers.size;
    return () => {
      watchers.delete(fn);
      group.watchers = watchers.size;
      if (watchers.size === 0) this.#watchers.delete(group);
    };
  }

  async #synced(group: Group, signal: AbortSignal | undefined): Promise<void> {
    if (this.#options.transport === undefined) return;
    const isAlone = (): boolean => this.#core.peers.size === 0 && Date.now() - this.#startedAt >= ALONE_AFTER_MS;
    while (!group.isCompared && !isAlone()) {
      this.#checkOpen();
      await this.#until(group, () => group.isCompared, signal, TICK_MS);
    }
  }

  /** Every group known here, from memory; deleted ones only with `deleted`. */
  *groups(options: { prefix?: GroupId; deleted?: boolean } = {}): Generator<GroupStatus> {
    const prefix = options.prefix === undefined ? "" : encodeGroupPrefix(options.prefix);
    for (const group of this.#core.groups.values()) {
      if (!group.key.startsWith(prefix) || (group.phase === "deleted" && !options.deleted)) continue;
      yield this.#status(group);
    }
  }

  /** One group's status, if it is known here. */
  group(id: GroupId): GroupStatus | undefined {
    const group = this.#core.groups.get(encodeGroupId(id));
    return group === undefined ? undefined : this.#status(group);
  }

  #status(group: Group): GroupStatus {
    return {
      id: group.id,
      key: group.key,
      domain: group.domain,
      type: group.typeName,
      isKnownType: this.#core.type(group.typeName) !== undefined,
      epoch: group.epoch,
      phase: group.phase,
      digest: formatDigest(group.digest()),
      events: group.vector.total(),
      get vector() {
        return group.vector.toJSON();
      },
      pendingBytes: group.server?.pendingBytes ?? 0,
      snapshotAt: group.snapshotAt,
      snapshotBytes: group.snapshotBytes,
      journalBytes: group.journalBytes,
      degraded: group.phase === "failed" || (group.server?.degraded ?? false),
      isCompared: group.isCompared,
    };
  }

  /**
   * Loads every stored group, found by listing, and reports what was recovered. With `dryRun` nothing is loaded: the
   * report says what is stored.
   */
  recover(options: RecoverOptions = {}): Promise<RecoveryReport> {
    this.#checkOpen();
    return recoverGroups(
      {
        groups: [...this.#core.groups.values()].filter((group) => group.isStored && group.phase !== "deleted"),
        status: (group) => this.#status(group),
        load: (group, signal) => this.#active(group, signal),
      },
      options,
    );
  }

  /**
   * Deletes a group on every node: it does not come back, neither by a restart nor by a peer that was away. Resolves
   * once that is on this node's stable storage. Idempotent. Rejects with `UNKNOWN_GROUP`, `STORAGE_FAILED`.
   */
  async delete(id: GroupId, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    this.#checkOpen();
    this.#core.checkWritable();
    const group = this.#core.groups.get(encodeGroupId(id));
    if (group === undefined) throw new ReplicationError("UNKNOWN_GROUP", `no group ${formatGroupId(id)} is known here`);
    await new Promise<void>((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.#core.delete(group, resolve);
    });
  }

  /** Snapshots a group, or every loaded group that changed, and waits until that is stored. */
  async snapshot(id?: GroupId): Promise<void> {
    this.#checkOpen();
    const key = id === undefined ? undefined : encodeGroupId(id);
    for (const group of this.#core.groups.values()) {
      if (key === undefined || group.key === key) this.#core.requestSnapshot(group);
    }
    await this.#settled();
  }

  /** Waits until everything written so far is committed. Rejects with `STORAGE_FAILED`. */
  async #settled(): Promise<void> {
    this.#core.flush();
    await new Promise<void>((resolve) => this.#core.pipeline.whenIdle(resolve));
    this.#core.checkWritable();
  }

  /** A barrier: everything written so far is on stable storage. */
  async sync(): Promise<void> {
    this.#checkOpen();
    await this.#settled();
    await this.#storage.sync();
  }

  /** The linked peers. */
  peers(): readonly PeerStatus[] {
    return [...this.#core.peers.values()].map((peer) => ({
      id: peer.id,
      addresses: peer.link.addresses,
      domains: peer.hello?.domains,
      events: peer.counts.events,
      bytesIn: peer.counts.bytesIn,
      bytesOut: peer.counts.bytesOut,
      queueBytes: peer.queueBytes,
      lastSyncAt: peer.lastSyncAt,
    }));
  }

  /** Dials a peer and keeps the link up from then on; resolves with its id once linked. See `Transport.connect`. */
  async connect(address: string, options?: { signal?: AbortSignal }): Promise<PeerId> {
    this.#checkOpen();
    const link = await this.#transport().connect(address, options);
    return link.peer;
  }

  /** Ends the link to a peer and stops redialling it. */
  async disconnect(peer: PeerId): Promise<void> {
    this.#checkOpen();
    await this.#transport().disconnect(peer);
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closed();
  }

  /**
   * Snapshots what changed, leaves the peers, and closes the storage; idempotent. Rejects when the storage failed: what
   * it did not take is in peers only.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    try {
      await this.snapshot();
    } finally {
      this.#isClosed = true;
      for (const checks of this.#movedWaiters.values()) for (const check of checks) check();
      await this.#options.transport?.stop();
      this.#core.flush();
      await new Promise<void>((resolve) => this.#core.pipeline.whenIdle(resolve));
      const peers = [...this.#addresses].slice(0, 100);
      const starts = (await this.#storage.readNode())?.starts ?? 1;
      await this.#storage.writeNode({ nodeId: this.id, starts, clean: true, peers });
      await this.#storage.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function closed(): ReplicationError {
  return new ReplicationError("CLOSED", "the node is closed");
}
