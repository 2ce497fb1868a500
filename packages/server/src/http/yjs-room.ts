import type { YjsMutator, YjsView, checkYjsUpdate } from "@coppice/crdt/yjs";
import { BROADCAST_BYTES_MAX, type PeerId, type Replica, ReplicationError } from "@coppice/replication";
import type * as Yjs from "yjs";
import { ServerError } from "../error.ts";
import { AwarenessTable, awarenessMessages } from "./yjs-awareness.ts";
import { tellOtherRooms } from "./room-broadcast.ts";
import { followEnd } from "./rooms.ts";
import {
  type AwarenessEntry,
  MESSAGE_AWARENESS,
  MESSAGE_QUERY_AWARENESS,
  MESSAGE_SYNC,
  SYNC_STEP_1,
  SYNC_STEP_2,
  SYNC_UPDATE,
  WireReader,
  awarenessMessage,
  readAwareness,
  wire,
} from "./yjs-wire.ts";

/** Yjs, which is an optional dependency, and what is checked of updates that come from elsewhere. */
export type YjsLibrary = typeof Yjs & { readonly checkYjsUpdate: typeof checkYjsUpdate };

/** One editor. */
export interface YjsClient {
  /** False when its queue is full: it is then sent nothing until it has caught up. */
  send(message: Uint8Array): boolean;
  /** Whether its token allows changes, now. */
  mayWrite(): boolean;
  /** The group was deleted. */
  gone(): void;
}

const SWEEP_MS = 1000;

interface Seat {
  /** The state vector of the last that fitted its queue; undefined while it gets everything. */
  behindSince: Uint8Array | undefined;
}

/**
 * A document and everyone who edits it through this server. The rooms of a document on several nodes tell each other by
 * broadcast what their editors say of themselves, in the awareness messages of the protocol: a change at once, all of it
 * when a room asks, which it does when it opens and when a node is linked.
 */
export class YjsRoom {
  readonly #yjs: YjsLibrary;
  readonly #replica: Replica<unknown, YjsMutator, YjsView>;
  readonly #doc: Yjs.Doc;
  readonly #isGone: () => boolean;
  readonly #clients = new Map<YjsClient, Seat>();
  readonly #onUpdate: (update: Uint8Array, origin: unknown) => void;
  readonly #awareness = new AwarenessTable<YjsClient>();
  readonly #members: () => readonly PeerId[];
  readonly #sweeping: NodeJS.Timeout;
  /** The last answer, good until the document changes: those who come back after a cut mostly ask the same. */
  #answer: { readonly since: Uint8Array; readonly message: Uint8Array } | undefined;
  #met: ReadonlySet<PeerId>;

  /** The replica is the room's from now on. `members`: the nodes that replicate the group now. */
  constructor(yjs: YjsLibrary, replica: Replica<unknown, YjsMutator, YjsView>, members: () => readonly PeerId[]) {
    this.#yjs = yjs;
    this.#replica = replica;
    this.#members = members;
    this.#met = new Set(members());
    this.#doc = replica.read(({ doc }) => doc);
    this.#isGone = followEnd(replica);
    this.#onUpdate = (update, origin) => {
      this.#answer = undefined;
      this.#tell(wire(MESSAGE_SYNC, SYNC_UPDATE, update), origin);
    };
    this.#doc.on("update", this.#onUpdate);
    replica.onBroadcast((message) => this.#hear(message));
    this.#ask();
    this.#sweeping = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#sweeping.unref();
  }

  /** Whether the group was deleted, on whatever node. One that was created anew has another document. */
  get isGone(): boolean {
    return this.#isGone();
  }

  join(client: YjsClient): void {
    this.#clients.set(client, { behindSince: undefined });
    client.send(this.#question());
    const present = this.#awareness.present();
    if (present.length > 0) client.send(awarenessMessage(present));
  }

  /** Sends one whose queue has emptied what it has missed, as one update. */
  catchUp(client: YjsClient): void {
    const seat = this.#clients.get(client);
    const since = seat?.behindSince;
    if (seat === undefined || since === undefined) return;
    seat.behindSince = undefined;
    const missed = wire(MESSAGE_SYNC, SYNC_UPDATE, this.#yjs.encodeStateAsUpdate(this.#doc, since));
    const fits = client.send(missed) && client.send(awarenessMessage(this.#awareness.all()));
    if (!fits) seat.behindSince = this.#yjs.encodeStateVector(this.#doc);
  }

  leave(client: YjsClient): void {
    this.#clients.delete(client);
    const gone = this.#awareness.leave(client, performance.now());
    this.#tellAwareness(gone);
    this.#share(gone);
  }

  /** Throws `GROUP_DELETED`, for what is no message, and what `Replica.mutate` throws. */
  receive(client: YjsClient, message: Uint8Array): void {
    if (this.isGone) throw new ReplicationError("GROUP_DELETED", "the group was deleted");
    const reader = new WireReader(message);
    const kind = reader.uint();
    if (kind === MESSAGE_SYNC) this.#sync(client, reader);
    else if (kind === MESSAGE_AWARENESS) this.#receiveAwareness(client, reader.bytes());
    else if (kind === MESSAGE_QUERY_AWARENESS) client.send(awarenessMessage(this.#awareness.present()));
  }

  close(): void {
    clearInterval(this.#sweeping);
    this.#doc.off("update", this.#onUpdate);
    this.#replica.close();
  }

  #sync(client: YjsClient, reader: WireReader): void {
    const step = reader.uint();
    const bytes = reader.bytes();
    if (step === SYNC_STEP_1) {
      client.send(this.#answerTo(bytes));
    } else if (step === SYNC_STEP_2 || step === SYNC_UPDATE) {
      // An editor without permission still answers the question it was asked.
      if (client.mayWrite()) this.#apply(client, bytes);
    }
  }

  #answerTo(since: Uint8Array): Uint8Array {
    if (this.#answer === undefined || Buffer.compare(this.#answer.since, since) !== 0) {
      const update = this.#yjs.encodeStateAsUpdate(this.#doc, since);
      this.#answer = { since: since.slice(), message: wire(MESSAGE_SYNC, SYNC_STEP_2, update) };
    }
    return this.#answer.message;
  }

  #apply(client: YjsClient, update: Uint8Array): void {
    const known = this.#yjs.decodeStateVector(this.#yjs.encodeStateVector(this.#doc));
    const { from } = this.#yjs.parseUpdateMeta(update);
    // With a hole before it, Yjs would keep the update aside where no event carries it.
    if ([...from].some(([id, clock]) => clock > (known.get(id) ?? 0))) {
      client.send(this.#question());
      return;
    }
    // What no other replica would take must not get in here either.
    this.#yjs.checkYjsUpdate(this.#doc, update);
    this.#replica.mutate(({ doc }) => this.#yjs.applyUpdate(doc, update, client));
  }

  #receiveAwareness(client: YjsClient, bytes: Uint8Array): void {
    const entries = readAwareness(bytes);
    if (!this.#clients.has(client)) return;
    if (client.mayWrite()) this.#share(this.#take(entries, client));
    // A client that hears nothing for 30 seconds, not even its own words, takes the connection for dead.
    else client.send(awarenessMessage([]));
  }

  /** Tells the editors here what is news, and returns it. */
  #take(entries: readonly AwarenessEntry[], from: YjsClient | undefined): readonly AwarenessEntry[] {
    const { news, replies } = this.#awareness.take(entries, from, performance.now());
    this.#tellAwareness(news);
    for (const { to, entry } of replies) {
      if (to === undefined) this.#share([entry]);
      else to.send(awarenessMessage([entry]));
    }
    return news;
  }

  /** What the room of another node says. One of another version may say what is not understood here. */
  #hear(message: Uint8Array): void {
    try {
      const reader = new WireReader(message);
      const kind = reader.uint();
      if (kind === MESSAGE_QUERY_AWARENESS) this.#share(this.#awareness.own());
      else if (kind === MESSAGE_AWARENESS) this.#take(readAwareness(reader.bytes()), undefined);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
    }
  }

  #sweep(): void {
    if (this.isGone) for (const client of this.#clients.keys()) client.gone();
    const members = this.#members();
    const isJoined = members.some((member) => !this.#met.has(member));
    this.#met = new Set(members);
    if (isJoined) {
      this.#ask();
      this.#share(this.#awareness.own());
    }
    this.#tellAwareness(this.#awareness.expire(performance.now()));
  }

  #tellAwareness(entries: readonly AwarenessEntry[]): void {
    if (entries.length > 0) this.#tell(awarenessMessage(entries), undefined);
  }

  /** Tells the rooms of other nodes. */
  #share(entries: readonly AwarenessEntry[]): void {
    for (const message of awarenessMessages(entries, BROADCAST_BYTES_MAX)) tellOtherRooms(this.#replica, message);
  }

  /** Asks the rooms of other nodes who is there. */
  #ask(): void {
    tellOtherRooms(this.#replica, wire(MESSAGE_QUERY_AWARENESS));
  }

  #question(): Uint8Array {
    return wire(MESSAGE_SYNC, SYNC_STEP_1, this.#yjs.encodeStateVector(this.#doc));
  }

  #tell(message: Uint8Array, except: unknown): void {
    for (const [client, seat] of this.#clients) {
      if (client === except || seat.behindSince !== undefined) continue;
      if (!client.send(message)) seat.behindSince = this.#yjs.encodeStateVector(this.#doc);
    }
  }
}
