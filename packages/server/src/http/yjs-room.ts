import type { YjsMutator, YjsView, checkYjsUpdate } from "@coppice/crdt/yjs";
import type { Replica } from "@coppice/replication";
import type * as Yjs from "yjs";
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
}

/** Most clients that one connection may speak for; a page is one. */
const PRESENCES_MAX = 100;

interface Seat {
  /** What the connection says of its editors: presence is never stored. */
  readonly presences: Map<number, AwarenessEntry>;
  /** The state vector of the last that fitted its queue; undefined while it gets everything. */
  behindSince: Uint8Array | undefined;
}

/** A document and everyone who edits it through this server. */
export class YjsRoom {
  readonly #yjs: YjsLibrary;
  readonly #replica: Replica<unknown, YjsMutator, YjsView>;
  readonly #doc: Yjs.Doc;
  readonly #clients = new Map<YjsClient, Seat>();
  readonly #onUpdate: (update: Uint8Array, origin: unknown) => void;

  /** The replica is the room's from now on. */
  constructor(yjs: YjsLibrary, replica: Replica<unknown, YjsMutator, YjsView>) {
    this.#yjs = yjs;
    this.#replica = replica;
    this.#doc = replica.read(({ doc }) => doc);
    this.#onUpdate = (update, origin) => this.#tell(wire(MESSAGE_SYNC, SYNC_UPDATE, update), origin);
    this.#doc.on("update", this.#onUpdate);
  }

  get size(): number {
    return this.#clients.size;
  }

  join(client: YjsClient): void {
    this.#clients.set(client, { presences: new Map(), behindSince: undefined });
    client.send(this.#question());
    const present = this.#presences();
    if (present.length > 0) client.send(awarenessMessage(present));
  }

  /** Sends one whose queue has emptied what it has missed, as one update. */
  catchUp(client: YjsClient): void {
    const seat = this.#clients.get(client);
    const since = seat?.behindSince;
    if (seat === undefined || since === undefined) return;
    seat.behindSince = undefined;
    const missed = wire(MESSAGE_SYNC, SYNC_UPDATE, this.#yjs.encodeStateAsUpdate(this.#doc, since));
    const fits = client.send(missed) && client.send(awarenessMessage(this.#presences()));
    if (!fits) seat.behindSince = this.#yjs.encodeStateVector(this.#doc);
  }

  leave(client: YjsClient): void {
    const presences = [...(this.#clients.get(client)?.presences.values() ?? [])];
    this.#clients.delete(client);
    const gone = presences.map(({ client: id, clock }) => ({ client: id, clock: clock + 1, state: "null" }));
    if (gone.length > 0) this.#tell(awarenessMessage(gone), undefined);
  }

  /** Throws for what is no message, and what `Replica.mutate` throws. */
  receive(client: YjsClient, message: Uint8Array): void {
    const reader = new WireReader(message);
    const kind = reader.uint();
    if (kind === MESSAGE_SYNC) this.#sync(client, reader);
    else if (kind === MESSAGE_AWARENESS) this.#awareness(client, reader.bytes());
    else if (kind === MESSAGE_QUERY_AWARENESS) client.send(awarenessMessage(this.#presences()));
  }

  close(): void {
    this.#doc.off("update", this.#onUpdate);
    this.#replica.close();
  }

  #sync(client: YjsClient, reader: WireReader): void {
    const step = reader.uint();
    const bytes = reader.bytes();
    if (step === SYNC_STEP_1) {
      client.send(wire(MESSAGE_SYNC, SYNC_STEP_2, this.#yjs.encodeStateAsUpdate(this.#doc, bytes)));
    } else if (step === SYNC_STEP_2 || step === SYNC_UPDATE) {
      // An editor without permission still answers the question it was asked.
      if (client.mayWrite()) this.#apply(client, bytes);
    }
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

  #awareness(client: YjsClient, bytes: Uint8Array): void {
    const presences = this.#clients.get(client)?.presences;
    if (presences === undefined || !client.mayWrite()) return;
    for (const entry of readAwareness(bytes)) {
      if (entry.state === "null") presences.delete(entry.client);
      else if (presences.size < PRESENCES_MAX) presences.set(entry.client, entry);
    }
    this.#tell(wire(MESSAGE_AWARENESS, bytes), client);
  }

  #question(): Uint8Array {
    return wire(MESSAGE_SYNC, SYNC_STEP_1, this.#yjs.encodeStateVector(this.#doc));
  }

  #presences(): AwarenessEntry[] {
    return [...this.#clients.values()].flatMap(({ presences }) => [...presences.values()]);
  }

  #tell(message: Uint8Array, except: unknown): void {
    for (const [client, seat] of this.#clients) {
      if (client === except || seat.behindSince !== undefined) continue;
      if (!client.send(message)) seat.behindSince = this.#yjs.encodeStateVector(this.#doc);
    }
  }
}
