import type { Actor } from "@coppice/crdt";
import type { AckHandle } from "./core/acknowledgements.ts";
import type { CommitPipeline } from "./core/commit-pipeline.ts";
import type { ReplicationServer } from "./core/replication-server.ts";
import { ReplicationError } from "./error.ts";
import { eventToken, replicaToken } from "./session-token.ts";
import { unless } from "./waiting.ts";

/**
 * What a write waits for when it is awaited:
 *
 * - `memory`: nothing, it is applied;
 * - `log`: it is in this node's journal, and survives the process;
 * - `sync`: it is on this node's stable storage, and survives a power cut;
 * - `{ replicas }`: that many distinct peers that this node is linked to have applied it, with `durable` also synced it;
 *   under a roster also `"majority"` (of all members, this node included) and `"all"`.
 */
export type AckLevel =
  | "memory"
  | "log"
  | "sync"
  | { readonly replicas: number | "majority" | "all"; readonly durable?: boolean };

/** How a write reaches its acknowledgement. */
export interface Acknowledgement {
  /** Settles when the level is reached or can no longer be. Called at most once, and only when somebody waits. */
  wait(): Promise<void>;
}

/**
 * A write: applied already, acknowledged later. Awaiting it waits for its acknowledgement level and yields what the
 * `mutate` callback returned; a write that nobody awaits never rejects.
 */
export class Write<Result> implements Promise<Result> {
  /** What the `mutate` callback returned. */
  readonly result: Result;
  readonly #server: ReplicationServer;
  readonly #actor: Actor | undefined;
  readonly #seq: number;
  readonly #acknowledgement: Acknowledgement | undefined;

  constructor(
    result: Result,
    server: ReplicationServer,
    hasWritten: boolean,
    acknowledgement: Acknowledgement | undefined,
  ) {
    this.result = result;
    this.#server = server;
    this.#actor = hasWritten ? server.incarnation.issuer : undefined;
    this.#seq = server.incarnation.seq;
    this.#acknowledgement = acknowledgement;
  }

  /**
   * A session token: `replica.atLeast` with it, on any node, waits for this write and everything that it followed. A
   * short text, to keep or to send; see `mergeSessionTokens`. A write that is lost before its acknowledgement (a node
   * that was killed) makes a token that no node can reach, so pass it on once the write was awaited.
   */
  get sessionToken(): string {
    const isEvent = this.#actor !== undefined && this.#seq > 0;
    return isEvent ? eventToken(this.#server, this.#actor, this.#seq) : replicaToken(this.#server);
  }

  get [Symbol.toStringTag](): string {
    return "Write";
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a write is awaited for its acknowledgement, and costs no promise before
  then<Fulfilled = Result, Rejected = never>(
    onFulfilled?: ((result: Result) => Fulfilled | PromiseLike<Fulfilled>) | null,
    onRejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null,
  ): Promise<Fulfilled | Rejected> {
    const acknowledged = this.#acknowledgement?.wait() ?? Promise.resolve();
    return acknowledged.then(() => this.result).then(onFulfilled, onRejected);
  }

  /** Awaits the acknowledgement; see `Promise.prototype.catch`. */
  catch<Rejected = never>(
    onRejected?: ((reason: unknown) => Rejected | PromiseLike<Rejected>) | null,
  ): Promise<Result | Rejected> {
    return this.then(undefined, onRejected);
  }

  /** Awaits the acknowledgement; see `Promise.prototype.finally`. */
  finally(onFinally?: (() => void) | null): Promise<Result> {
    return this.then((result) => result).finally(onFinally);
  }
}

/** Waits for the commit that holds a write. */
export class CommitAcknowledgement implements Acknowledgement {
  readonly #pipeline: CommitPipeline;
  readonly #ticket: number;
  readonly #signal: AbortSignal | undefined;

  constructor(pipeline: CommitPipeline, ticket: number, signal: AbortSignal | undefined) {
    this.#pipeline = pipeline;
    this.#ticket = ticket;
    this.#signal = signal;
  }

  wait(): Promise<void> {
    const committed = new Promise<void>((resolve, reject) => {
      this.#pipeline.whenCommitted(this.#ticket, resolve, (cause) => {
        const message = "the write is applied and goes to peers, but this node's storage did not take it";
        reject(new ReplicationError("APPLIED_NOT_DURABLE", message, { cause }));
      });
    });
    return this.#signal === undefined ? committed : unless(committed, this.#signal);
  }
}

/** Waits until peers have answered for a write; they are asked from the moment it is made. */
export class PeerAcknowledgement implements Acknowledgement {
  readonly #reached: Promise<void>;

  constructor(reached: Promise<void>) {
    // A write that nobody awaits never rejects.
    reached.catch(() => {});
    this.#reached = reached;
  }

  wait(): Promise<void> {
    return this.#reached;
  }
}

/** Why a write was not acknowledged by peers. */
export function timedOut(
  level: { readonly replicas: number; readonly durable: boolean },
  timeoutMs: number,
  handle: AckHandle | undefined,
): ReplicationError {
  const noun = level.replicas === 1 ? "replica" : "replicas";
  const wanted = `${level.replicas} ${level.durable ? "durable " : ""}${noun}`;
  const [answered, undurable] = [handle?.answered() ?? [], handle?.undurable() ?? []];
  const who = answered.length === 0 ? "none answered" : `${answered.length} answered: ${answered.join(", ")}`;
  const others = undurable.length === 0 ? "" : `; applied, but not on stable storage, at ${undurable.join(", ")}`;
  const message = `${wanted} wanted within ${timeoutMs} ms, ${who}${others}; the write stays applied`;
  return new ReplicationError("TIMEOUT", message);
}
