/// <reference lib="esnext.disposable" preserve="true" />
import type { Actor, AnyCrdtType, CrdtType } from "@coppice/crdt";
import type { GroupId } from "@coppice/storage";
import { ChangeStream } from "./change-stream.ts";
import type { Origin } from "./core/changes.ts";
import { BROADCAST_BYTES_MAX } from "./core/messages.ts";
import type { ReplicationServer } from "./core/replication-server.ts";
import { checkFunction } from "./error.ts";
import { type SignalOptions, checkSignal } from "./option-checks.ts";
import { Presence, type PresenceHost } from "./presence.ts";
import type { PeerId } from "./transport.ts";
import type { WaitOptions } from "./waiting.ts";
import type { AckLevel, Write } from "./write.ts";

/** A change of a group, told at the end of the tick that made it; several changes of one origin come as one. */
export interface Change<Value> {
  /** The value after the change; worked out when it is read. */
  readonly value: Value;
  /** `local`: written on this node; `remote`: received from a peer. */
  readonly origin: Origin;
  /** The top-level keys that changed, for types that have keys. */
  readonly keys: readonly string[];
}

/** How a write is acknowledged. */
export interface MutateOptions {
  /** Default: `log` where this node keeps a journal, else `memory`. */
  readonly ack?: AckLevel;
  /** How long to wait for peers, in milliseconds. Default 10 000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** How a read hears other members first. */
export interface ReadBarrierOptions extends WaitOptions {
  /**
   * Whom to hear: that many linked peers, or under a roster a `"majority"` of all members (this node included) or
   * `"all"` of them.
   */
  readonly from: number | "majority" | "all";
}

/** How a group stands on this node. */
export interface GroupStatus {
  readonly id: GroupId;
  /** The encoded id. */
  readonly key: string;
  readonly domain: string;
  /** The name of its CRDT type. */
  readonly type: string;
  /** Whether this node has the code of the type. */
  readonly isKnownType: boolean;
  readonly epoch: number;
  readonly phase: "stored" | "loading" | "active" | "deleted" | "failed";
  /** 16 hexadecimal digits; equal on replicas of equal content. */
  readonly digest: string;
  /** Events known here, of all actors. */
  readonly events: number;
  /** The version vector: events known of each actor. */
  readonly vector: Readonly<Record<string, number>>;
  /** Bytes of events that wait for others before them. */
  readonly pendingBytes: number;
  readonly pendingEvents: number;
  /** Events given up since the group was loaded: what they follow is nowhere. */
  readonly orphanedEvents: number;
  /** Events that a linked peer has told of and that are missing here; the most of any peer. */
  readonly lagEvents: number;
  /** For how long some of them have been missing, in milliseconds. */
  readonly lagMs: number;
  /** Whether events wait, or differ from a peer's, and nothing has moved for several rounds. */
  readonly isStuck: boolean;
  /** When a peer was last found to hold the same, in Unix milliseconds; 0 for not yet. */
  readonly comparedAt: number;
  /** Bytes of events and states received and sent since the group was loaded. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** When the newest snapshot was taken, in Unix milliseconds; 0 before the first. */
  readonly snapshotAt: number;
  readonly snapshotBytes: number;
  /** Bytes journalled since the newest snapshot. */
  readonly journalBytes: number;
  /** Whether something stored could not be read: events may be missing until peers have sent them. */
  readonly degraded: boolean;
  /** Whether it takes nothing more from peers because a limit was reached. */
  readonly isPaused: boolean;
  /** Whether the group was compared with some peer, and nothing was missing here. */
  readonly isCompared: boolean;
}

/** What a replica needs of its node. */
export interface ReplicaHost {
  readonly id: GroupId;
  /** The group's engine. Throws `CLOSED` or `GROUP_DELETED`. */
  server(): ReplicationServer;
  acknowledge<Result>(
    server: ReplicationServer,
    result: Result,
    hasWritten: boolean,
    options: MutateOptions | undefined,
  ): Write<Result>;
  /** Throws `INVALID_OPTIONS`, `ACK_UNAVAILABLE`, `NO_MEMBERSHIP`. */
  checkAck(options: MutateOptions): void;
  checkWritable(): void;
  status(): GroupStatus;
  contentHash(): string;
  synced(options?: SignalOptions): Promise<void>;
  sessionToken(): string;
  atLeast(token: string, options?: WaitOptions): Promise<void>;
  readBarrier(options: ReadBarrierOptions): Promise<void>;
  /** Calls back when the node closes; returns how to take that back. */
  onStop(fn: () => void): () => void;
  watch(fn: (origin: Origin, keys: ReadonlySet<string>) => void): () => void;
  presence(): PresenceHost;
  broadcast(message: Uint8Array): boolean;
  watchBroadcasts(fn: (message: Uint8Array, origin: PeerId) => void): () => void;
  watchDeletion(fn: () => void): () => void;
  release(): void;
}

/** A value that was worked out. */
interface Known<Value> {
  readonly server: ReplicationServer;
  readonly version: number;
  readonly value: Value;
}

/**
 * A handle on one group of a node, as `Node.open` returns it. Handles are counted; the group stays loaded while there
 * is one. After `close`, of the handle or of its node, everything throws `CLOSED` but `close`, `status` and `digest`.
 */
export class Replica<Value, Mutator extends View, View = Mutator> implements Disposable {
  readonly type: CrdtType<unknown, Value, Mutator, View>;
  readonly #host: ReplicaHost;
  #presence: Presence | undefined;
  #stops: Set<() => void> | undefined;
  /** As it was last asked for. */
  #known: Known<Value> | undefined;

  constructor(type: AnyCrdtType, host: ReplicaHost) {
    this.type = type;
    this.#host = host;
  }

  get id(): GroupId {
    return this.#host.id;
  }

  /**
   * Who writes through this handle next: this process, under the name that the group's types know it by. Needed where
   * something is given to a writer, such as rights of a bounded counter. Another one after each start, and in rare cases
   * in between (notice `INCARNATION_REUSED`), so ask for it when it is needed. Throws `CLOSED`, `GROUP_DELETED`.
   */
  get actor(): Actor {
    const { incarnation, vector } = this.#host.server();
    return incarnation.actor(vector);
  }

  /** Who is in the group right now: ephemeral states, never stored. */
  get presence(): Presence {
    return (this.#presence ??= this.#newPresence());
  }

  #newPresence(): Presence {
    const host = this.#host.presence();
    return new Presence({ ...host, watch: (fn) => this.#untilClosed(host.watch(fn)) });
  }

  /**
   * Applies `fn` at once, as one atomic event, and publishes it behind: a throw in `fn` takes everything back and is
   * rethrown. `fn` must be synchronous (`TypeError` otherwise), and its mutator must not be used after it.
   *
   * Await the returned write for its acknowledgement. Throws synchronously `CLOSED`, `GROUP_DELETED`,
   * `STORAGE_FAILED` (own writes are refused until the storage takes them again), `CLOCK_SKEW` (likewise, while this
   * node's clock is far ahead of all its peers'), `NO_MEMBERSHIP` (this one is not in the domain's roster), and
   * `ACK_UNAVAILABLE` (nothing is
   * written); awaiting rejects with `APPLIED_NOT_DURABLE` or `TIMEOUT` (the write stays applied).
   */
  mutate<Result>(fn: (mutator: Mutator) => Result, options?: MutateOptions): Write<Result> {
    const server = this.#host.server();
    this.#host.checkWritable();
    if (options !== undefined) this.#host.checkAck(options);
    const before = server.version;
    const result = server.mutate(this.type, fn);
    return this.#host.acknowledge(server, result, server.version !== before, options);
  }

  /** The same as {@link mutate}: all the mutations of one callback are one atomic event with one delta. */
  batch<Result>(fn: (mutator: Mutator) => Result, options?: MutateOptions): Write<Result> {
    return this.mutate(fn, options);
  }

  /** The value as plain frozen data: the same object until the next change; within a `mutate` callback as it is by then. */
  value(): Value {
    const server = this.#host.server();
    if (server.isMutating) return server.value(this.type) as Value;
    if (this.#known?.server !== server || this.#known.version !== server.version) {
      this.#known = { server, version: server.version, value: server.value(this.type) as Value };
    }
    return this.#known.value;
  }

  /** Point reads that do not build the whole value; everything read in one callback is of one moment. */
  read<Result>(fn: (view: View) => Result): Result {
    return fn(this.#host.server().view(this.type) as View);
  }

  /** Calls `fn` after each change, from now on; returns how to stop. What `fn` throws is reported as a notice. */
  subscribe(fn: (change: Change<Value>) => void): () => void {
    checkFunction(fn, "subscribe");
    this.#host.server();
    return this.#untilClosed(this.#host.watch((origin, keys) => fn(this.#change(origin, keys))));
  }

  /** Stops something when told to, or with this handle. */
  #untilClosed(stopWatching: () => void): () => void {
    const stop = (): void => {
      this.#stops?.delete(stop);
      stopWatching();
    };
    (this.#stops ??= new Set()).add(stop);
    return stop;
  }

  /**
   * The changes from the moment of the call on. A reader that is slow gets several changes as one. Ends when the
   * signal fires or the replica or its node is closed.
   */
  changes(options: SignalOptions = {}): AsyncIterableIterator<Change<Value>> {
    this.#host.server();
    const signal = checkSignal("changes", options);
    const stream: ChangeStream<Change<Value>> = new ChangeStream(
      (origin, keys) => this.#change(origin, keys),
      () => {
        for (const stop of stops) stop();
      },
    );
    const end = (): void => stream.end();
    const stops = [
      this.#host.watch((origin, keys) => stream.push(origin, keys)),
      this.#host.onStop(end),
      this.#untilClosed(end),
      () => signal?.removeEventListener("abort", end),
    ];
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end, { once: true });
    return stream;
  }

  #change(origin: Origin, keys: ReadonlySet<string>): Change<Value> {
    const value = (): Value => this.value();
    return {
      origin,
      keys: [...keys],
      get value() {
        return value();
      },
    };
  }

  /**
   * Tells the other nodes that have the group open something that nobody stores: it arrives at most once, after what
   * this node broadcast before, and may be lost. At most 64 KiB (`RangeError`). False, and nobody is told, when this
   * node has broadcast 4 MiB in the last second. Throws `CLOSED`, `GROUP_DELETED`.
   */
  broadcast(message: Uint8Array): boolean {
    if (!(message instanceof Uint8Array)) throw new TypeError("broadcast takes bytes, a Uint8Array");
    if (message.length > BROADCAST_BYTES_MAX) {
      throw new RangeError(`a broadcast of ${message.length} bytes is above ${BROADCAST_BYTES_MAX}`);
    }
    return this.#host.broadcast(message);
  }

  /** Calls `fn` with what other nodes broadcast in the group, from now on; returns how to stop. */
  onBroadcast(fn: (message: Uint8Array, from: PeerId) => void): () => void {
    checkFunction(fn, "onBroadcast");
    this.#host.server();
    return this.#untilClosed(this.#host.watchBroadcasts(fn));
  }

  /**
   * Calls `fn` when the group is deleted, here or by a peer, from now on; returns how to stop. Unless somebody has
   * created it anew already, reading and writing throw `GROUP_DELETED` then; the handle goes on once somebody does.
   */
  onDelete(fn: () => void): () => void {
    checkFunction(fn, "onDelete");
    this.#host.server();
    return this.#untilClosed(this.#host.watchDeletion(fn));
  }

  /**
   * Resolves once the group was compared with an interested peer and nothing was missing here, or when there is no
   * peer to compare with: then what is read is not merely *not yet here*.
   */
  async synced(options?: SignalOptions): Promise<void> {
    this.#host.server();
    await this.#host.synced(options);
  }

  /**
   * A session token of everything that this replica shows now. A reader who passes it on to `atLeast` of another node
   * never sees there less than it saw here (monotonic reads). Throws `CLOSED`, `GROUP_DELETED`; `LIMIT_EXCEEDED` when
   * some hundreds of writers are concurrent, so that it would exceed 8 192 characters.
   */
  sessionToken(): string {
    return this.#host.sessionToken();
  }

  /**
   * Resolves once this replica is at least as new as a session token says: then `value` and `read` show what the
   * session has written or seen on any node. Where it is behind, the missing events are asked of peers at once. What
   * the token says of other groups does not matter here; a later epoch is newer than any token of an earlier one.
   *
   * Rejects with `TIMEOUT`, naming what is missing, after `timeoutMs` (10 000 by default); `INVALID_TOKEN`; `CLOSED`;
   * `GROUP_DELETED`; on abort with the signal's reason.
   */
  atLeast(token: string, options?: WaitOptions): Promise<void> {
    return this.#host.atLeast(token, options);
  }

  /**
   * Resolves once this replica has everything that the members of `from` had when they were asked, each as it would
   * acknowledge it. A write acknowledged by a majority is so seen by every later majority read, on whichever member.
   *
   * Rejects with `NO_MEMBERSHIP` for `"majority"` and `"all"` without a roster; `TIMEOUT`, naming who answered, after
   * `timeoutMs` (10 000 by default); `INVALID_OPTIONS`; `CLOSED`; `GROUP_DELETED`; on abort with the signal's reason.
   */
  readBarrier(options: ReadBarrierOptions): Promise<void> {
    return this.#host.readBarrier(options);
  }

  get status(): GroupStatus {
    return this.#host.status();
  }

  /** 16 hexadecimal digits that stand for the events known here: equal on replicas of equal content. */
  digest(): string {
    return this.#host.status().digest;
  }

  /** SHA-256 of the canonical state, 64 hexadecimal digits: equal digests must go with equal hashes. */
  contentHash(): string {
    return this.#host.contentHash();
  }

  /** Ends the handle and its subscriptions; idempotent. Writes that wait for an acknowledgement go on. */
  close(): void {
    for (const stop of this.#stops ?? []) stop();
    this.#host.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The replica that `Node.open` gives of a type, to declare parameters and fields by: `ReplicaOf<typeof cart>`. */
export type ReplicaOf<Type extends AnyCrdtType> =
  Type extends CrdtType<infer _State, infer Value, infer Mutator, infer View>
    ? Replica<Value, Mutator extends View ? Mutator : never, View>
    : never;
