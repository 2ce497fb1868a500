import type { AnyCrdtType } from "@coppice/crdt";
import { type GroupId, formatGroupId } from "@coppice/storage";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { AckHandle, PeerAckLevel } from "./core/acknowledgements.ts";
import type { Durability } from "./core/commit-pipeline.ts";
import { type Point, isReached } from "./core/catch-up.ts";
import type { Core } from "./core/core.ts";
import type { Group } from "./core/group.ts";
import type { ReadHandle, ReadLevel } from "./core/member-reads.ts";
import type { Origin } from "./core/changes.ts";
import type { ReplicationServer } from "./core/replication-server.ts";
import { ReplicationError, groupDeleted } from "./error.ts";
import { type OptionNames, type SignalOptions, checkNames, checkSignal } from "./option-checks.ts";
import type { PresenceHost } from "./presence.ts";
import type { GroupStatus, MutateOptions, ReadBarrierOptions, ReplicaHost } from "./replica.ts";
import { decodeSessionToken, replicaToken } from "./session-token.ts";
import type { PeerId } from "./transport.ts";
import {
  type OnStop,
  type StartTimer,
  WAIT_OPTIONS,
  type WaitOptions,
  checkTimeout,
  checkWait,
  waitFor,
} from "./waiting.ts";
import {
  type AckLevel,
  type Acknowledgement,
  CommitAcknowledgement,
  PeerAcknowledgement,
  Write,
  timedOut,
} from "./write.ts";

const MUTATE_OPTIONS: OptionNames<MutateOptions> = { ack: true, timeoutMs: true, signal: true };

const READ_BARRIER_OPTIONS: OptionNames<ReadBarrierOptions> = { from: true, ...WAIT_OPTIONS };

/** What handles need of their node beyond its core: one for all of them. */
export interface HostEnvironment {
  isClosed(): boolean;
  /** `buffered`: commits wait in memory for the next save. */
  durability(group: Group): { readonly durable: boolean; readonly sync: boolean; readonly buffered?: boolean };
  /** The durability mode of the group's domain, when one was set. */
  mode(group: Group): Durability | undefined;
  status(group: Group): GroupStatus;
  synced(group: Group, signal: AbortSignal | undefined): Promise<void>;
  /** The linked peers that replicate the group. */
  interestedPeers(group: Group): readonly PeerId[];
  readonly onStop: OnStop;
  /** The timers of reads and writes that wait. */
  readonly startTimer: StartTimer;
  /** The members of the group's domain but this one, and how many there are. Throws `NO_MEMBERSHIP`. */
  roster(group: Group): { readonly others: readonly PeerId[]; readonly size: number };
  /** Whether the group's domain has a roster that does not name this node. */
  isOutsider(group: Group): boolean;
  watch(group: Group, fn: (origin: Origin, keys: ReadonlySet<string>) => void): () => void;
  watchPresence(group: Group, fn: () => void): () => void;
  watchBroadcasts(group: Group, fn: (message: Uint8Array, origin: PeerId) => void): () => void;
  watchDeletion(group: Group, fn: () => void): () => void;
}

/** Throws `GROUP_DELETED`, `STORAGE_FAILED` or `GROUP_DEGRADED` when a group that was to be loaded could not be. */
export function checkLoaded(group: Group): void {
  if (group.phase === "deleted") throw groupDeleted(group.id);
  const name = formatGroupId(group.id);
  if (group.phase === "stored") {
    const message = `group ${name} was not read: the storage failed; try again`;
    throw new ReplicationError("STORAGE_FAILED", message, { cause: group.failure });
  }
  if (group.phase === "failed") {
    const message = `group ${name} is stored here but cannot be read; it stays as it is: stop the node and run "coppice check" on its data directory`;
    throw new ReplicationError("GROUP_DEGRADED", message, { cause: group.failure });
  }
}

/** One replica's way to its group, its node's core and its storage. */
export class GroupHost implements ReplicaHost {
  readonly #group: Group;
  readonly #type: AnyCrdtType;
  readonly #core: Core;
  readonly #environment: HostEnvironment;
  /** What writes wait for that do not say. */
  readonly #level: "memory" | "log";
  #isReleased = false;

  constructor(group: Group, type: AnyCrdtType, core: Core, environment: HostEnvironment) {
    this.#group = group;
    this.#type = type;
    this.#core = core;
    this.#environment = environment;
    this.#level = this.#isJournalled() && environment.durability(group).buffered !== true ? "log" : "memory";
    group.handles++;
  }

  #isJournalled(): boolean {
    return this.#environment.durability(this.#group).durable && this.#environment.mode(this.#group) !== "snapshot";
  }

  get id(): GroupId {
    return this.#group.id;
  }

  presence(): PresenceHost {
    return {
      set: (state) => {
        this.server();
        this.#core.presence.set(this.#group, state);
      },
      states: () => {
        this.#checkOpen();
        return this.#core.presence.states(this.#group);
      },
      watch: (fn) => {
        this.server();
        return this.#environment.watchPresence(this.#group, fn);
      },
    };
  }

  broadcast(message: Uint8Array): boolean {
    this.server();
    return this.#core.broadcasts.send(this.#group, message);
  }

  watchBroadcasts(fn: (message: Uint8Array, origin: PeerId) => void): () => void {
    return this.#environment.watchBroadcasts(this.#group, fn);
  }

  watchDeletion(fn: () => void): () => void {
    return this.#environment.watchDeletion(this.#group, fn);
  }

  server(): ReplicationServer {
    this.#checkOpen();
    const { server } = this.#group;
    return server?.typeName === this.#type.name ? server : this.#restarted();
  }

  #checkOpen(): void {
    if (this.#isReleased || this.#environment.isClosed()) {
      const what = this.#isReleased ? "this replica" : "the node";
      throw new ReplicationError("CLOSED", `${what} is closed`);
    }
  }

  /** The group has entered another epoch under this handle. */
  #restarted(): ReplicationServer {
    if (this.#group.phase === "deleted") throw groupDeleted(this.#group.id);
    const name = formatGroupId(this.#group.id);
    if (this.#group.typeName !== this.#type.name) {
      throw new ReplicationError(
        "TYPE_CONFLICT",
        `group ${name} was created anew as ${this.#group.typeName}; open it again`,
      );
    }
    this.#core.load(this.#group, () => {});
    const { server } = this.#group;
    if (server === undefined) throw new ReplicationError("UNKNOWN_GROUP", `group ${name} is not loaded; open it again`);
    return server;
  }

  checkWritable(): void {
    if (this.#environment.isOutsider(this.#group)) {
      const message = `the roster of domain ${JSON.stringify(this.#group.domain)} does not name this node: name it on every node, before it writes`;
      throw new ReplicationError("NO_MEMBERSHIP", message);
    }
    this.#core.checkWritable();
  }

  checkAck(options: MutateOptions): void {
    checkNames("mutate", options, MUTATE_OPTIONS);
    checkTimeout(options.timeoutMs);
    const level = options.ack;
    if (level === undefined || level === "memory") return;
    if (typeof level === "object" && level !== null) return void this.#peerLevel(level);
    if (level !== "log" && level !== "sync") {
      const message = `ack must be "memory", "log", "sync" or { replicas }, not ${JSON.stringify(level)}`;
      throw new ReplicationError("ACK_UNAVAILABLE", message);
    }
    const name = formatGroupId(this.#group.id);
    const { sync, buffered } = this.#environment.durability(this.#group);
    if (!this.#isJournalled()) {
      const message = `ack "${level}" needs a journal, and group ${name} has none: use a durable storage and durability "log" or "sync"`;
      throw new ReplicationError("ACK_UNAVAILABLE", message);
    }
    if (level === "log" && buffered === true) {
      const message = `ack "log": group ${name} is kept in memory until the next save; use "sync", which saves at once`;
      throw new ReplicationError("ACK_UNAVAILABLE", message);
    }
    if (level === "sync" && !sync) {
      throw new ReplicationError(
        "ACK_UNAVAILABLE",
        `ack "sync": the storage of group ${name} cannot promise stable storage`,
      );
    }
  }

  acknowledge<Result>(
    server: ReplicationServer,
    result: Result,
    hasWritten: boolean,
    options: MutateOptions | undefined,
  ): Write<Result> {
    const level = options?.ack ?? this.#level;
    return new Write(result, server, hasWritten, hasWritten ? this.#acknowledgement(level, options) : undefined);
  }

  #acknowledgement(level: AckLevel, options: MutateOptions | undefined): Acknowledgement | undefined {
    const { pipeline } = this.#core;
    if (level === "memory") return undefined;
    if (level === "log" || level === "sync") {
      return new CommitAcknowledgement(pipeline, pipeline.ticket(level === "sync"), options?.signal);
    }
    const peers = this.#peerLevel(level);
    if (peers.replicas === 0) return undefined;
    const limitMs = checkTimeout(options?.timeoutMs);
    let handle: AckHandle | undefined;
    const reached = this.#wait(
      limitMs,
      options?.signal,
      (done) => {
        const asked = this.#core.expectAcks(this.#group, peers, done);
        handle = asked;
        return () => asked.cancel();
      },
      () => timedOut(peers, limitMs, handle),
    );
    return new PeerAcknowledgement(reached);
  }

  /** Which peers a level waits for. Throws `ACK_UNAVAILABLE`, or `NO_MEMBERSHIP` where it needs a roster. */
  #peerLevel({ replicas, durable = false }: Exclude<AckLevel, string>): PeerAckLevel {
    const quorum = this.#quorum(replicas);
    if (quorum !== undefined) return { ...quorum, durable };
    const message = 'ack: { replicas } must be a whole number above 0, "majority" or "all"';
    throw new ReplicationError("ACK_UNAVAILABLE", message);
  }

  /** The peers beside this node that make a majority, all, or a number. Throws `NO_MEMBERSHIP`. */
  #quorum(replicas: unknown): ReadLevel | undefined {
    if (replicas === "majority" || replicas === "all") {
      const { others, size } = this.#environment.roster(this.#group);
      const needed = replicas === "all" ? others.length : Math.floor(size / 2) + 1 - (size - others.length);
      return { replicas: Math.max(0, needed), among: new Set(others) };
    }
    if (typeof replicas !== "number" || !Number.isSafeInteger(replicas) || replicas <= 0) return undefined;
    return { replicas, among: undefined };
  }

  sessionToken(): string {
    const server = this.server();
    server.settleType();
    return replicaToken(server);
  }

  async atLeast(token: string, options: WaitOptions = {}): Promise<void> {
    const { timeoutMs: limitMs, signal } = checkWait("atLeast", options);
    this.server();
    const point = decodeSessionToken(token).get(this.#group.key);
    if (point === undefined || isReached(this.#group, point)) return;
    await this.#wait(
      limitMs,
      signal,
      (done) => this.#core.reach(this.#group, point, done),
      () => this.#behind(point, limitMs),
    );
    this.server();
  }

  #behind({ epoch, vector }: Point, timeoutMs: number): ReplicationError {
    const group = this.#group;
    const name = formatGroupId(group.id);
    const missing = [...vector]
      .filter(([actor, seq]) => group.epoch < epoch || group.vector.get(actor) < seq)
      .map(
        ([actor, seq]) => `event ${seq} of ${actor} (known here: ${group.epoch < epoch ? 0 : group.vector.get(actor)})`,
      );
    const what = group.epoch < epoch ? [`epoch ${epoch} (here: ${group.epoch})`, ...missing] : missing;
    const peers = this.#environment.interestedPeers(this.#group);
    const who = peers.length === 0 ? "no peer is linked" : `asked ${peers.join(", ")}`;
    const message = `group ${name} did not get ${what.join(", ")} within ${timeoutMs} ms; ${who}`;
    return new ReplicationError("TIMEOUT", message);
  }

  async readBarrier(options: ReadBarrierOptions): Promise<void> {
    checkNames("readBarrier", options, READ_BARRIER_OPTIONS);
    const { from, timeoutMs, signal } = options;
    const limitMs = checkTimeout(timeoutMs);
    this.server();
    const level = this.#quorum(from);
    if (level === undefined) {
      throw new ReplicationError("INVALID_OPTIONS", 'from must be a whole number above 0, "majority" or "all"');
    }
    let handle: ReadHandle | undefined;
    await this.#wait(
      limitMs,
      signal,
      (done) => {
        const asked = this.#core.readFrom(this.#group, level, done);
        handle = asked;
        return () => asked.cancel();
      },
      () => {
        const answered = handle?.answered() ?? [];
        const who = answered.length === 0 ? "none answered" : `${answered.length} answered: ${answered.join(", ")}`;
        const message = `a read from ${level.replicas === 1 ? "1 peer" : `${level.replicas} peers`} of group ${formatGroupId(this.#group.id)} was not done within ${limitMs} ms; ${who}`;
        return new ReplicationError("TIMEOUT", message);
      },
    );
    this.server();
  }

  #wait(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    begin: (done: () => void) => () => void,
    late: () => Error,
  ): Promise<void> {
    const { startTimer, onStop } = this.#environment;
    return waitFor({ startTimer, timeoutMs, signal, onStop, begin, late });
  }

  onStop(fn: () => void): () => void {
    return this.#environment.onStop(fn);
  }

  status(): GroupStatus {
    return this.#environment.status(this.#group);
  }

  contentHash(): string {
    return bytesToHex(sha256(this.server().canonical()));
  }

  async synced(options: SignalOptions = {}): Promise<void> {
    await this.#environment.synced(this.#group, checkSignal("synced", options));
  }

  watch(fn: (origin: Origin, keys: ReadonlySet<string>) => void): () => void {
    return this.#environment.watch(this.#group, fn);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#group.handles--;
    if (this.#group.handles > 0) return;
    this.#core.presence.set(this.#group, undefined);
    this.#core.released(this.#group);
  }
}
