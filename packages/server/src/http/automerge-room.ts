import type * as Automerge from "@automerge/automerge";
import type { AutomergeMutator, AutomergeView } from "@coppice/crdt/automerge";
import { type Replica, ReplicationError } from "@coppice/replication";
import { ServerError } from "../error.ts";
import { type EphemeralMessage, readRepoMessage, relayedMessage } from "./automerge-wire.ts";
import { oncePerTurn } from "./once-per-turn.ts";
import { tellOtherRooms } from "./room-broadcast.ts";
import { followEnd } from "./rooms.ts";

type Content = Record<string, unknown>;

/** One client that has the document. */
export interface AutomergeClient {
  /** Whether it takes more now; when it does again, `pump` goes on. */
  isReady(): boolean;
  /** A sync message of Automerge. */
  sync(message: Uint8Array): void;
  /** An ephemeral message of another client. */
  relay(message: EphemeralMessage): void;
  /** The document is gone. */
  gone(): void;
  /** Whether its token allows changes, now. */
  mayWrite(): boolean;
}

/** Sessions of clients whose ephemeral messages are counted; of more, those longest silent are forgotten. */
const SESSIONS_MAX = 1000;

/**
 * A document and everyone who edits it through this server. The room has a copy of its own, with which it takes part in
 * Automerge's sync protocol as any peer; what that brings goes into the replica as one event, and what the replica gets
 * from elsewhere goes into the copy. The protocol sends differences, so a slow client just gets a larger one later.
 * Ephemeral messages go to the other clients here and, by broadcast, to those of the rooms on other nodes: each once, for
 * a client that is connected to several nodes passes on what it hears.
 */
export class AutomergeRoom {
  readonly #automerge: typeof Automerge;
  readonly #replica: Replica<Content, AutomergeMutator<Content>, AutomergeView<Content>>;
  readonly #clients = new Map<AutomergeClient, Automerge.SyncState>();
  readonly #stop: () => void;
  /** The count of the latest ephemeral message of each session; latest last. */
  readonly #counts = new Map<string, number>();
  #copy: Automerge.Doc<Content>;
  readonly #isGone: () => boolean;

  /** The replica is the room's from now on. */
  constructor(
    automerge: typeof Automerge,
    replica: Replica<Content, AutomergeMutator<Content>, AutomergeView<Content>>,
  ) {
    this.#automerge = automerge;
    this.#replica = replica;
    this.#isGone = followEnd(replica);
    this.#copy = this.#copied();
    this.#stop = replica.subscribe(oncePerTurn(() => this.#tell()));
    replica.onBroadcast((message) => this.#hear(message));
  }

  /** Whether the group was deleted, on whatever node. */
  get isGone(): boolean {
    return this.#isGone();
  }

  join(client: AutomergeClient): void {
    this.#clients.set(client, this.#automerge.initSyncState());
    this.pump(client);
  }

  leave(client: AutomergeClient): void {
    this.#clients.delete(client);
  }

  /** Throws for what is no sync message, and what `Replica.mutate` throws. */
  receive(client: AutomergeClient, message: Uint8Array): void {
    const state = this.#clients.get(client);
    if (state === undefined) return;
    const { changes, next } = this.#take(client.mayWrite() ? message : this.#withoutChanges(message), state);
    this.#clients.set(client, next);
    if (changes.length > 0) this.#keep(changes);
    this.pump(client);
  }

  /** What a sync message brings into the copy. */
  #take(
    message: Uint8Array,
    state: Automerge.SyncState,
  ): { readonly changes: readonly Uint8Array[]; readonly next: Automerge.SyncState } {
    const automerge = this.#automerge;
    const before = automerge.getHeads(this.#copy);
    try {
      const [copy, next] = automerge.receiveSyncMessage(this.#copy, state, message);
      this.#copy = copy;
      return { changes: automerge.getChangesSince(copy, before), next };
    } catch (cause) {
      // It may hold a part of what was refused.
      this.#copy = this.#copied();
      throw new ServerError("INVALID_REQUEST", "Automerge refuses a sync message", { cause });
    }
  }

  /** Sends a client the difference that it lacks, if it takes it now. */
  pump(client: AutomergeClient): void {
    const state = this.#clients.get(client);
    if (state === undefined || !client.isReady()) return;
    const [next, message] = this.#automerge.generateSyncMessage(this.#copy, state);
    this.#clients.set(client, next);
    if (message !== null) client.sync(message);
  }

  /** Passes on an ephemeral message of a client. Throws `INVALID_REQUEST` for one that cannot be passed on. */
  relay(from: AutomergeClient, message: EphemeralMessage): void {
    if (!this.#isNew(message)) return;
    this.#relay(message, from);
    tellOtherRooms(this.#replica, relayedMessage(message));
  }

  /** What the room of another node says. One of another version may say what is not understood here. */
  #hear(bytes: Uint8Array): void {
    try {
      const message = readRepoMessage(bytes);
      if (message.type === "ephemeral" && this.#isNew(message)) this.#relay(message);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
    }
  }

  #relay(message: EphemeralMessage, from?: AutomergeClient): void {
    for (const client of this.#clients.keys()) if (client !== from && client.isReady()) client.relay(message);
  }

  #isNew({ senderId, sessionId, count }: EphemeralMessage): boolean {
    const session = JSON.stringify([senderId, sessionId]);
    const latest = this.#counts.get(session);
    if (latest !== undefined && latest >= count) return false;
    this.#counts.delete(session);
    this.#counts.set(session, count);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size > SESSIONS_MAX && oldest !== undefined) this.#counts.delete(oldest);
    return true;
  }

  close(): void {
    this.#stop();
    this.#replica.close();
  }

  #keep(changes: readonly Uint8Array[]): void {
    try {
      this.#replica.mutate((mutator) => void mutator.applyChanges(changes));
    } catch (error) {
      // The copy must not have what the replica has not.
      this.#copy = this.#copied();
      throw error;
    }
  }

  #copied(): Automerge.Doc<Content> {
    return this.#replica.read(({ doc }) => this.#automerge.clone(doc));
  }

  /** What a client who may only read says of what it has and lacks, as if it had nothing of its own. */
  #withoutChanges(message: Uint8Array): Uint8Array {
    const automerge = this.#automerge;
    const { heads, need, have } = automerge.decodeSyncMessage(message);
    const known = heads.filter((hash) => automerge.hasHeads(this.#copy, [hash]));
    return automerge.encodeSyncMessage({ heads: known, need, have, changes: [] });
  }

  #tell(): void {
    try {
      const missing = this.#replica.read(({ doc }) => this.#automerge.getChanges(this.#copy, doc));
      if (missing.length > 0) this.#copy = this.#automerge.applyChanges(this.#copy, missing)[0];
    } catch (error) {
      // Closed, or deleted on whatever node.
      if (!(error instanceof ReplicationError)) throw error;
      for (const client of this.#clients.keys()) client.gone();
      return;
    }
    for (const client of this.#clients.keys()) this.pump(client);
  }
}
