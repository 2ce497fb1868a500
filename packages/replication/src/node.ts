/// <reference lib="esnext.disposable" preserve="true" />
import type { CrdtType } from "@coppice/crdt";
import { type GroupId, type GroupStorage, decodeGroupKey, encodeGroupId } from "@coppice/storage";
import { bytesToHex, randomBytes } from "@noble/hashes/utils.js";
import type { Group } from "./core/group.ts";
import type { StabilityReport } from "./core/stability.ts";
import type { Verdict } from "./core/verification.ts";
import { Driver, type PeerEvent } from "./driver.ts";
import { EarlyEvents } from "./early-events.ts";
import { ReplicationError, checkFunction, closed } from "./error.ts";
import { GroupHost, type HostEnvironment, checkLoaded } from "./group-host.ts";
import {
  type NodeOptions,
  OPEN_OPTIONS,
  type OpenOptions,
  type ResolvedNodeOptions,
  checkDomain,
  checkType,
  isOutsider,
  policyOf,
  resolveOptions,
  rosterOf,
} from "./node-options.ts";
import type { MetricsRegistry } from "./metrics.ts";
import {
  type ChangedGroups,
  type CollectionReport,
  type Lag,
  type PeerStatus,
  type VerificationReport,
  changedGroups,
  peerStatus,
} from "./node-reports.ts";
import { openStorage } from "./node-storage.ts";
import { type GroupListOptions, listGroups } from "./group-list.ts";
import { type SignalOptions, checkNames, checkSignal } from "./option-checks.ts";
import { randomSample } from "./random-sample.ts";
import { RECOVER_OPTIONS, type RecoverOptions, type RecoveryReport, recoverGroups } from "./recovery.ts";
import { type GroupStatus, Replica } from "./replica.ts";
import { type SupersededContent, type SupersededGroup, listSuperseded, readSuperseded } from "./superseded.ts";
import type { PeerId } from "./transport.ts";
import { type WaitOptions, checkWait, gather, unless } from "./waiting.ts";

/** How long `open` waits for peers to say whether they know a group. */
const PROBE_MS = 500;
/** A node without a link to a peer with the same interest counts as alone after this time: `synced` waits no longer. */
const ALONE_AFTER_MS = 2000;
/** Addresses of peers kept for the next run. */
const KNOWN_PEERS_MAX = 100;
/** How often `synced` looks again. */
const LOOK_AGAIN_MS = 100;

/**
 * Starts a node: opens its storage, lists the stored groups and starts the transport; groups are loaded when needed.
 *
 * Rejects with `ReplicationError` `INVALID_OPTIONS`, `BAD_ADDRESS`, with `StorageError` `LOCKED` when another process
 * uses the storage, `IO` or `CORRUPT` when it cannot be read; on abort with the signal's reason. Nothing stays open then.
 */
export async function createNode(options: NodeOptions, starting: SignalOptions = {}): Promise<Node> {
  const resolved = resolveOptions(options);
  const signal = checkSignal("createNode's second argument", starting);
  const early = new EarlyEvents();
  try {
    signal?.throwIfAborted();
    const storage = await openStorage(options.storage, early.events.damaged, signal);
    try {
      return await Node.start(resolved, storage, early, signal);
    } catch (error) {
      await storage.close().catch(() => {});
      throw error;
    }
  } catch (error) {
    throw signal?.aborted === true ? signal.reason : error;
  }
}

/** A running node: its groups, its peers, its storage. Made by {@link createNode}. */
export class Node implements AsyncDisposable {
  /** The node's id; with libp2p its peer id. */
  readonly id: PeerId;
  /** 16 hexadecimal digits, fresh for each start. */
  readonly incarnation: string;
  readonly #options: ResolvedNodeOptions;
  readonly #driver: Driver;
  readonly #startedAt = performance.now();
  readonly #hosting: HostEnvironment = {
    isClosed: () => this.#driver.isStopped,
    durability: (group) => this.#driver.storage.durability(group.id),
    mode: (group) => policyOf(this.#options, group.domain).durability,
    status: (group) => this.#driver.status(group),
    synced: (group, signal) => this.#synced(group, signal),
    roster: (group) => rosterOf(this.#options, group.domain, this.id),
    isOutsider: ({ domain }) => isOutsider(this.#options, domain, this.id),
    interestedPeers: (group) => this.members(group.id).slice(1),
    onStop: (fn) => this.#driver.onStop(fn),
    startTimer: (delayMs, run) => {
      const timer = setTimeout(run, delayMs);
      return () => clearTimeout(timer);
    },
    watch: (group, fn) => this.#driver.watch(group, fn),
    watchPresence: (group, fn) => this.#driver.watchPresence(group, fn),
    watchBroadcasts: (group, fn) => this.#driver.watchBroadcasts(group, fn),
    watchDeletion: (group, fn) => this.#driver.watchDeletion(group, fn),
  };
  #closing: Promise<void> | undefined;

  /** Used by {@link createNode}. */
  static async start(
    options: ResolvedNodeOptions,
    storage: GroupStorage,
    early: EarlyEvents,
    signal?: AbortSignal,
  ): Promise<Node> {
    const record = await storage.readNode();
    const incarnation = bytesToHex(randomBytes(8));
    const context = {
      events: early.events,
      incarnation,
      readSecret: (name: string) => storage.readSecret(name),
      writeSecret: (name: string, bytes: Uint8Array) => storage.writeSecret(name, bytes),
    };
    const started = await options.transport?.start(context, signal === undefined ? {} : { signal });
    const id = started ?? record?.nodeId ?? bytesToHex(randomBytes(16));
    const peers = record?.peers ?? [];
    const node = new Node(options, storage, id, incarnation);
    try {
      await storage.writeNode({ nodeId: id, starts: (record?.starts ?? 0) + 1, clean: false, peers });
      await node.#driver.list(signal);
    } catch (error) {
      await options.transport?.stop().catch(() => {});
      throw error;
    }
    early.attach(node.#driver.events());
    node.#begin(peers);
    return node;
  }

  #begin(formerPeers: readonly string[]): void {
    const { id, incarnation } = this;
    this.#driver.start();
    const { size } = this.#driver.core.groups;
    this.#options.logger.debug(
      { event: "node-started", node: id, incarnation, groups: size },
      `node ${id} has started`,
    );
    if (this.#options.redialKnownPeers) this.#options.transport?.discovered(formerPeers, "record");
    // After a crash, too, the next run should find its peers.
    this.onPeer((event) => {
      if (event === "join") this.#writeRecord(false).catch((error: unknown) => this.#noteFailure(error));
    });
  }

  private constructor(options: ResolvedNodeOptions, storage: GroupStorage, id: PeerId, incarnation: string) {
    this.id = id;
    this.incarnation = incarnation;
    this.#options = options;
    this.#driver = new Driver(options, storage, id);
  }

  #noteFailure(error: unknown): void {
    if (!this.#driver.isStopped) this.#driver.notice("STORAGE_FAILED", `the node record: ${String(error)}`);
  }

  /** Where this node can be dialled. */
  addresses(): readonly string[] {
    return this.#options.transport?.addresses() ?? [];
  }

  /**
   * Opens a group: loads it when it is stored here, asks the linked peers about it when it is not, and creates it
   * when nobody knows it. Its value may lack what peers have until `replica.synced()` resolves. A group that nobody has
   * ever written to is known only for as long as it is open.
   *
   * Rejects with `CLOSED`; `INVALID_GROUP_ID` (`StorageError`); `INVALID_OPTIONS` for a group of a domain that this node
   * does not replicate (`domains`); `TYPE_CONFLICT` when the group has another type;
   * `GROUP_DELETED` unless `recreate`; `GROUP_DEGRADED` when what is stored cannot be read; `STORAGE_FAILED` when the
   * storage did not answer; `LIMIT_EXCEEDED`.
   */
  async open<Value, Mutator extends View, View>(
    id: GroupId,
    // oxlint-disable-next-line typescript/no-explicit-any -- the state is the type's own business
    type: CrdtType<any, Value, Mutator, View>,
    options: OpenOptions = {},
  ): Promise<Replica<Value, Mutator, View>> {
    this.#checkOpen();
    checkNames("open", options, OPEN_OPTIONS);
    checkType(type);
    const key = encodeGroupId(id);
    checkDomain(this.#options, id);
    const isUnknownToAll = !this.#driver.core.groups.has(key) && (await this.#probe(key, type.name, options.signal));
    this.#checkOpen();
    const group = this.#driver.core.open(id, type, options.recreate ?? false);
    const host = new GroupHost(group, type, this.#driver.core, this.#hosting);
    try {
      await this.#active(group, options.signal);
    } catch (error) {
      host.release();
      throw error;
    }
    if (isUnknownToAll && group.isEmpty) group.isCompared = true;
    return new Replica<Value, Mutator, View>(type, host);
  }

  /** Asks the linked peers about a group; returns whether there were any, and none knows it. */
  async #probe(key: string, typeName: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#driver.core.peers.size === 0) return false;
    const isAnswered = await this.#gather<boolean>({ timeoutMs: PROBE_MS, signal }, (done) =>
      this.#driver.core.probe(key, typeName, done),
    );
    return isAnswered && !this.#driver.core.groups.has(key);
  }

  /** Loads a group. Rejects with `GROUP_DELETED`, `GROUP_DEGRADED`, `STORAGE_FAILED`, `CLOSED`. */
  async #active(group: Group, signal: AbortSignal | undefined, isAwaited = true): Promise<void> {
    const isLoading = (): boolean =>
      group.failure === undefined && (group.phase === "loading" || group.phase === "stored");
    // It may be unloaded again before this goes on.
    do {
      this.#driver.core.load(group, () => {}, isAwaited);
      await this.#driver.until(group, () => !isLoading(), signal);
    } while (isLoading());
    checkLoaded(group);
  }

  async #synced(group: Group, signal: AbortSignal | undefined): Promise<void> {
    if (this.#options.transport === undefined) return;
    const isAlone = (): boolean => {
      if (performance.now() - this.#startedAt < ALONE_AFTER_MS) return false;
      const peers = [...this.#driver.core.peers.values()];
      return !peers.some((peer) => peer.hello === undefined || peer.isInterestedIn(group.domain));
    };
    while (!group.isCompared && !isAlone()) {
      this.#checkOpen();
      this.#driver.core.hurry(group);
      await this.#driver.until(group, () => group.isCompared, signal, LOOK_AGAIN_MS);
    }
  }

  /** The groups known here, from memory, without those that were deleted, unless `options` say otherwise. */
  *groups(options: GroupListOptions = {}): Generator<GroupStatus> {
    for (const group of listGroups(this.#driver.core.groups, options)) yield this.#driver.status(group);
  }

  /** How many groups each domain has here; at once, however many there are. Deleted ones do not count. */
  countGroups(): ReadonlyMap<string, number> {
    return this.#driver.core.groups.counts();
  }

  /**
   * The groups that changed here since a cursor, each once, in the order of their latest changes, at most `limit`
   * (1 000 by default) of them; and the cursor to go on with. `startOver`: the cursor is of another run of the node, or
   * too old, or none was given, so that everything may have changed: go through `groups()`, then go on with the new cursor.
   */
  changedSince(cursor: string | undefined, options: { limit?: number } = {}): ChangedGroups {
    checkNames("changedSince", options, { limit: true });
    return changedGroups(this.#driver.core.changes, this.incarnation, cursor, options.limit ?? 1000);
  }

  /**
   * Calls `fn` with the groups that have changed, whoever changed them, those of a turn together: also with those that
   * were created, deleted, or have come from a peer. Returns how to stop. See `changedSince` for what went before.
   */
  onChange(fn: (groups: readonly GroupId[]) => void): () => void {
    checkFunction(fn, "onChange");
    return this.#driver.watchGroups(fn);
  }

  /** One group's status, if it is known here. */
  group(id: GroupId): GroupStatus | undefined {
    const group = this.#driver.core.groups.get(encodeGroupId(id));
    return group === undefined ? undefined : this.#driver.status(group);
  }

  /**
   * Loads every stored group, found by listing, and reports what was recovered. With `dryRun` nothing is loaded: the
   * report says what is stored, in `stored` with the sizes and the damage of each group. Rejects with `CLOSED`; on abort
   * with the signal's reason.
   */
  async recover(options: RecoverOptions = {}): Promise<RecoveryReport> {
    this.#checkOpen();
    checkNames("recover", options, RECOVER_OPTIONS);
    return await recoverGroups(
      {
        checkOpen: () => this.#checkOpen(),
        groups: () => this.#driver.core.groups.views(),
        group: (key) => this.#driver.view(key),
        status: (group) => this.#driver.status(group),
        isKnownType: (name) => this.#driver.core.type(name) !== undefined,
        contents: (signal) => this.#driver.storage.loadGroups(signal === undefined ? {} : { signal }),
        load: (key, signal) => this.#active(this.#driver.known(decodeGroupKey(key)), signal, false),
        adopt: (page) => this.#driver.adopt(page),
        superseded: (signal) => listSuperseded(this.#driver.storage, signal),
      },
      options,
    );
  }

  /**
   * States that were moved aside (notice `MOVED_ASIDE`): a peer deleted the group, or deleted and created it anew, while
   * this node held own writes that no peer is known to have. They stay until they are removed.
   */
  async superseded(): Promise<readonly SupersededGroup[]> {
    this.#checkOpen();
    return await listSuperseded(await this.#driver.committed());
  }

  /** A state that was moved aside, with its content; undefined when there is none. */
  async readSuperseded(id: GroupId, epoch: number): Promise<SupersededContent | undefined> {
    this.#checkOpen();
    return await readSuperseded(await this.#driver.committed(), id, epoch, (name) => this.#driver.core.type(name));
  }

  /** Removes a state that was moved aside, for good; whether there was one. */
  async removeSuperseded(id: GroupId, epoch: number): Promise<boolean> {
    this.#checkOpen();
    return await (await this.#driver.committed()).removeSuperseded(id, epoch);
  }

  /**
   * Deletes a group on every node: it does not come back, neither by a restart nor by a peer that was away. Resolves
   * once that is on this node's stable storage. Idempotent. Rejects with `UNKNOWN_GROUP`, `STORAGE_FAILED`, `CLOSED`; on
   * abort with the signal's reason, which does not take the deletion back.
   */
  async delete(id: GroupId, options: SignalOptions = {}): Promise<void> {
    this.#checkOpen();
    const signal = checkSignal("delete", options);
    this.#driver.core.checkWritable();
    const group = this.#driver.known(id);
    signal?.throwIfAborted();
    const deleted = new Promise<void>((resolve) => this.#driver.core.delete(group, resolve));
    await unless(deleted, signal, this.#hosting.onStop);
  }

  /**
   * Compares a group with every interested peer: same events, same content? Names who differs. Peers that do not
   * answer within `timeoutMs` (5 000 by default) are missing from the report.
   *
   * Rejects with `CLOSED`, `UNKNOWN_GROUP`, `GROUP_DELETED`, `GROUP_DEGRADED`; on abort with the signal's reason.
   */
  async verify(id: GroupId, options: WaitOptions = {}): Promise<VerificationReport> {
    this.#checkOpen();
    const { timeoutMs, signal } = checkWait("verify", options, 5000);
    const group = this.#driver.known(id);
    await this.#active(group, signal);
    const peers = await this.#gather<ReadonlyMap<PeerId, Verdict>>({ timeoutMs, signal }, (done) =>
      this.#driver.core.verify(group, done),
    );
    const divergent = [...peers].filter(([, verdict]) => verdict === "divergent").map(([peer]) => peer);
    return { digest: this.#driver.status(group).digest, peers, divergent };
  }

  /**
   * Frees what no member of the group's roster needs any more, such as the tombstones of cancelled counters. All members
   * must be linked and answer within `timeoutMs` (10 000 by default): what each of them knows is stable.
   *
   * Rejects with `NO_MEMBERSHIP`; `TIMEOUT`, naming the members that are missing; `UNKNOWN_GROUP`; `CLOSED`.
   */
  async collect(id: GroupId, options: WaitOptions = {}): Promise<CollectionReport> {
    this.#checkOpen();
    const { timeoutMs, signal } = checkWait("collect", options);
    const group = this.#driver.known(id);
    const { others } = rosterOf(this.#options, group.domain, this.id);
    await this.#active(group, signal);
    const { stable, missing } = await this.#gather<StabilityReport>({ timeoutMs, signal }, (done) =>
      this.#driver.core.stability(group, others, done),
    );
    if (stable === undefined) {
      const message = `${missing.join(", ")} did not say what they know within ${timeoutMs} ms; nothing was collected`;
      throw new ReplicationError("TIMEOUT", message);
    }
    return { collected: group.server?.collect(stable) ?? 0, stable: stable.toJSON() };
  }

  /** What peers say until the time is up. */
  async #gather<Result>(
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal | undefined },
    begin: (done: (result: Result) => void) => () => void,
  ): Promise<Result> {
    const { onStop } = this.#hosting;
    const result = await gather({ timeoutMs, signal, onStop }, begin);
    signal?.throwIfAborted();
    this.#checkOpen();
    return result;
  }

  /**
   * Snapshots a group, or every loaded group that changed, and waits until that is stored. Rejects with `UNKNOWN_GROUP`,
   * `STORAGE_FAILED`, `CLOSED`; on abort with the signal's reason.
   */
  async snapshot(id?: GroupId, options: SignalOptions = {}): Promise<void> {
    this.#checkOpen();
    const signal = checkSignal("snapshot", options);
    const groups = id === undefined ? this.#driver.core.active : [this.#driver.known(id)];
    for (const group of groups) this.#driver.core.requestSnapshot(group);
    await unless(this.#driver.settled(), signal);
  }

  /** A barrier: everything written so far is on stable storage. Rejects as {@link snapshot} does. */
  async sync(options: SignalOptions = {}): Promise<void> {
    this.#checkOpen();
    const signal = checkSignal("sync", options);
    await unless(this.#driver.settled(), signal);
    await unless(this.#driver.storage.sync(), signal);
  }

  /** The linked peers. */
  peers(): readonly PeerStatus[] {
    const lags = this.lags();
    return [...this.#driver.core.peers.values()].map((peer) => peerStatus(peer, lags));
  }

  /** Where this node and its linked peers are known to differ now: of one group, or of all. */
  lags(id?: GroupId): readonly Lag[] {
    const group = id === undefined ? undefined : this.#driver.known(id);
    return [...this.#driver.core.watch.lags(group)].map((lag) => ({ ...lag, group: lag.group.id }));
  }

  /** The nodes that replicate a group now: this one, and the linked peers interested in its domain. */
  members(id: GroupId): readonly PeerId[] {
    const { domain } = this.#driver.known(id);
    const interested = [...this.#driver.core.peers.values()].filter((peer) => peer.isInterestedIn(domain));
    return [this.id, ...interested.map((peer) => peer.id)];
  }

  /** Up to `count` different linked peers, chosen at random. */
  randomPeers(count: number): readonly PeerId[] {
    return randomSample(this.#driver.core.peers.keys(), count);
  }

  /**
   * Tells every figure of this node to a registry: what `docs/metrics.md` lists. Counters count from the node's start,
   * histograms from this call.
   */
  exportMetrics(registry: MetricsRegistry): void {
    this.#driver.exportMetrics(registry);
  }

  /** Calls `fn` whenever a peer is linked or its link is lost; returns how to stop. */
  onPeer(fn: (event: PeerEvent, peer: PeerId) => void): () => void {
    checkFunction(fn, "onPeer");
    return this.#driver.watchPeers(fn);
  }

  /** Dials a peer and keeps the link up from then on; resolves with its id once linked. See `Transport.connect`. */
  async connect(address: string, options: SignalOptions = {}): Promise<PeerId> {
    this.#checkOpen();
    checkSignal("connect", options);
    const link = await this.#driver.transport().connect(address, options);
    return link.peer;
  }

  /** Ends the link to a peer and stops redialling it. */
  async disconnect(peer: PeerId): Promise<void> {
    this.#checkOpen();
    await this.#driver.transport().disconnect(peer);
  }

  #checkOpen(): void {
    if (this.#driver.isStopped) throw closed();
  }

  /**
   * Snapshots what changed, leaves the peers, and closes the storage; idempotent. Rejects when the storage failed: what
   * it did not take is in peers only.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#driver.stopClock();
    let clean = false;
    try {
      await this.snapshot();
      clean = true;
    } finally {
      this.#driver.stop();
      try {
        await this.#options.transport?.stop();
        await this.#driver.finished();
        await this.#writeRecord(clean);
      } finally {
        await this.#driver.storage.close();
      }
      this.#options.logger.debug({ event: "node-stopped", node: this.id }, `node ${this.id} has stopped`);
    }
  }

  async #writeRecord(clean: boolean): Promise<void> {
    const { storage } = this.#driver;
    const former = await storage.readNode();
    const peers = this.#driver.knownAddresses(former?.peers ?? []).slice(0, KNOWN_PEERS_MAX);
    await storage.writeNode({ nodeId: this.id, starts: former?.starts ?? 1, clean, peers });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
