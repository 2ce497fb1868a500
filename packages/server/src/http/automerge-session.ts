import type { GroupId } from "@coppice/storage";
import type { Node } from "@coppice/replication";
import type { Grant } from "../auth/grant.ts";
import { ServerError } from "../error.ts";
import type { AutomergeClient, AutomergeRoom } from "./automerge-room.ts";
import { PROTOCOL_VERSION, type RepoMessage, readRepoMessage, relayedMessage, repoMessage } from "./automerge-wire.ts";
import { toProblem } from "./problem.ts";
import type { Rooms } from "./rooms.ts";
import { type GuardedSocket, POLICY_VIOLATION } from "./sockets.ts";

/** What sessions share. */
export interface AutomergeHost {
  readonly node: Node;
  readonly rooms: Rooms<AutomergeRoom>;
  /** The group of a document. */
  groupOf(documentId: string): GroupId;
  /** Reads the heads of a sync message. */
  hasHeads(message: Uint8Array): boolean;
}

interface Desk {
  /** Undefined until the document is open. */
  room: AutomergeRoom | undefined;
  readonly client: AutomergeClient;
  /** Sync messages that arrived before. */
  readonly early: Uint8Array[];
  isOpening: boolean;
  /** Whether the client was told that the document is not here. */
  isRefused: boolean;
  /** When it was asked for. */
  readonly sinceMs: number;
  leave: () => void;
}

const DOCUMENTS_MAX = 10_000;
/** Messages of one connection that wait for documents to open, in bytes; what is more is dropped. */
const EARLY_BYTES_MAX = 16 << 20;
/** A document that is asked for may just be on its way from a peer. */
const LOOK_MS = 250;
const PATIENCE_MS = 1500;

/** One connection of an automerge-repo client, with the documents it has opened. */
export class AutomergeSession {
  readonly #socket: GuardedSocket;
  readonly #grant: Grant;
  readonly #host: AutomergeHost;
  readonly #selfId: string;
  readonly #desks = new Map<string, Desk>();
  readonly #looking: NodeJS.Timeout;
  #earlyBytes = 0;
  /** The client's, from its `join`. */
  #peerId: string | undefined;

  constructor(socket: GuardedSocket, grant: Grant, host: AutomergeHost) {
    this.#socket = socket;
    this.#grant = grant;
    this.#host = host;
    this.#selfId = `coppice-${host.node.id}`;
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
    this.#looking.unref();
  }

  async run(): Promise<void> {
    this.#socket.listen({
      message: (bytes) => this.#guarded(() => this.#receive(readRepoMessage(bytes))),
      drained: () => {
        for (const { room, client } of this.#desks.values()) room?.pump(client);
      },
    });
    await this.#socket.closed;
    clearInterval(this.#looking);
    for (const desk of this.#desks.values()) desk.leave();
    this.#desks.clear();
  }

  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#socket.close(POLICY_VIOLATION, toProblem(error).code);
    }
  }

  #receive(message: RepoMessage): void {
    if (message.type === "join") this.#join(message);
    else if (this.#peerId === undefined) throw new ServerError("INVALID_REQUEST", "the first message must be a join");
    else if (message.type === "ephemeral") {
      const desk = this.#desks.get(message.documentId);
      if (desk?.client.mayWrite() === true) desk.room?.relay(desk.client, message);
    } else if (message.type !== "other") this.#sync(message.documentId, message.data);
  }

  #join({ senderId, versions }: RepoMessage & { readonly type: "join" }): void {
    this.#peerId = senderId;
    if (versions !== undefined && !versions.includes(PROTOCOL_VERSION)) {
      this.#send({ type: "error", message: "unsupported protocol version" });
      this.#socket.close(POLICY_VIOLATION, "INVALID_REQUEST");
      return;
    }
    this.#send({ type: "peer", peerMetadata: {}, selectedProtocolVersion: PROTOCOL_VERSION });
  }

  #sync(documentId: string, data: Uint8Array): void {
    const desk = this.#desks.get(documentId) ?? this.#sit(documentId);
    if (desk.room !== undefined) {
      desk.room.receive(desk.client, data);
      return;
    }
    if (this.#earlyBytes + data.length <= EARLY_BYTES_MAX) {
      this.#earlyBytes += data.length;
      desk.early.push(data);
    }
    const group = this.#host.groupOf(documentId);
    const mayCreate = this.#host.hasHeads(data) && this.#grant.permits("write", group);
    if (mayCreate || this.#exists(group)) void this.#open(documentId, desk);
    else this.#answerAbsent(documentId, desk);
  }

  #sit(documentId: string): Desk {
    if (this.#desks.size >= DOCUMENTS_MAX) {
      throw new ServerError("INVALID_REQUEST", `a connection opens at most ${DOCUMENTS_MAX} documents`);
    }
    const group = this.#host.groupOf(documentId);
    const client: AutomergeClient = {
      isReady: () => !this.#socket.isFull,
      sync: (data) => this.#send({ type: "sync", documentId, data }),
      relay: (message) => void this.#socket.send(relayedMessage(message, this.#peerId ?? "")),
      gone: () => {
        this.#desks.get(documentId)?.leave();
        this.#desks.delete(documentId);
        this.#send({ type: "doc-unavailable", documentId });
      },
      mayWrite: () => this.#grant.permits("write", group),
    };
    const desk: Desk = {
      room: undefined,
      client,
      early: [],
      isOpening: false,
      isRefused: false,
      sinceMs: performance.now(),
      leave: () => undefined,
    };
    this.#desks.set(documentId, desk);
    return desk;
  }

  /** Whether there is such a document for this client. */
  #exists(group: GroupId): boolean {
    return this.#grant.permits("read", group) && this.#host.node.group(group)?.phase !== undefined;
  }

  async #open(documentId: string, desk: Desk): Promise<void> {
    if (desk.isOpening) return;
    desk.isOpening = true;
    try {
      const { room, leave } = await this.#host.rooms.enter(this.#host.groupOf(documentId));
      desk.leave = () => {
        room.leave(desk.client);
        leave();
      };
      if (room.isGone) throw new ServerError("NOT_FOUND", "the group was deleted");
      // The connection has ended meanwhile.
      if (this.#desks.get(documentId) !== desk) return desk.leave();
      desk.room = room;
      room.join(desk.client);
      this.#guarded(() => {
        for (const data of this.#takeEarly(desk)) room.receive(desk.client, data);
      });
    } catch {
      // Deleted, of another type, or not readable: for the protocol all of these are the same.
      this.#desks.delete(documentId);
      this.#takeEarly(desk);
      desk.leave();
      this.#refuse(documentId, desk);
    }
  }

  #takeEarly({ early }: Desk): Uint8Array[] {
    for (const { length } of early) this.#earlyBytes -= length;
    return early.splice(0);
  }

  /** With peers there is a chance that it comes; without, there is none. */
  #answerAbsent(documentId: string, desk: Desk): void {
    if (this.#host.node.peers().length === 0 || performance.now() - desk.sinceMs > PATIENCE_MS) {
      this.#refuse(documentId, desk);
    }
  }

  #refuse(documentId: string, desk: Desk): void {
    if (desk.isRefused) return;
    desk.isRefused = true;
    this.#send({ type: "doc-unavailable", documentId });
  }

  /** Documents may be deleted; those that were not here may have come from a peer, or another client. */
  #look(): void {
    for (const [documentId, desk] of this.#desks) {
      if (desk.room?.isGone === true) desk.client.gone();
      if (desk.room !== undefined || desk.isOpening) continue;
      if (this.#exists(this.#host.groupOf(documentId))) void this.#open(documentId, desk);
      else this.#answerAbsent(documentId, desk);
    }
  }

  #send(fields: { readonly [name: string]: unknown }): void {
    this.#socket.send(repoMessage({ ...fields, senderId: this.#selfId, targetId: this.#peerId }));
  }
}
