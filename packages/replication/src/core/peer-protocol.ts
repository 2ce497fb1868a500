import { CrdtError } from "@coppice/crdt";
import { StorageError, formatGroupId } from "@coppice/storage";
import { ReplicationError } from "../error.ts";
import type { Link, PeerId } from "../transport.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import type { AntiEntropy } from "./anti-entropy.ts";
import type { Broadcasts } from "./broadcasts.ts";
import type { CatchUp } from "./catch-up.ts";
import type { CoreContext } from "./context.ts";
import type { Gossip } from "./gossip.ts";
import { unpackFrame } from "./frames.ts";
import { emptyMeta } from "./group.ts";
import type { Limits } from "./limits.ts";
import type { MemberReads } from "./member-reads.ts";
import { decodeMessage, encodeMessage } from "./message-codec.ts";
import { type Hello, type Message, PROTOCOL_VERSION } from "./messages.ts";
import { Peer } from "./peer.ts";
import { PeerMeter } from "./peer-meter.ts";
import type { PeerExchange } from "./peer-exchange.ts";
import type { PresenceTable } from "./presence.ts";
import type { Stability } from "./stability.ts";
import type { Verification } from "./verification.ts";

/** What the protocol is made of. */
export interface ProtocolParts {
  readonly self: PeerId;
  readonly domains: readonly string[] | undefined;
  readonly limits: Limits;
  readonly gossip: Gossip;
  readonly antiEntropy: AntiEntropy;
  readonly acknowledgements: Acknowledgements;
  readonly verification: Verification;
  readonly presence: PresenceTable;
  readonly broadcasts: Broadcasts;
  readonly stability: Stability;
  readonly exchange: PeerExchange;
  readonly catchUp: CatchUp;
  readonly reads: MemberReads;
  drop(peer: PeerId): void;
}

/** Meters kept in all, unless more peers are linked. */
const METERS_MAX = 256;
/** Groups of which it is said that a message was too large, at most. */
const TOLD_MAX = 1000;

/** A question to every linked peer whether it knows a group. */
interface Probe {
  readonly key: string;
  readonly question: Uint8Array;
  /** Who has not answered yet. */
  readonly left: Set<PeerId>;
  readonly done: (isAnswered: boolean) => void;
}

/** Peers come and go here, greet each other, and each of their messages finds the part that answers it. */
export class PeerProtocol {
  readonly #core: CoreContext;
  readonly #peers: Map<PeerId, Peer>;
  readonly #parts: ProtocolParts;
  /** By peer, the latest linked last. */
  readonly #meters = new Map<PeerId, PeerMeter>();
  /** Groups of which it was said that a message was too large. */
  readonly #toldTooLarge = new Set<string>();
  readonly #probes = new Set<Probe>();

  constructor(core: CoreContext, peers: Map<PeerId, Peer>, parts: ProtocolParts) {
    this.#core = core;
    this.#peers = peers;
    this.#parts = parts;
  }

  linkUp(link: Link): void {
    const meter = this.#meterOf(link.peer);
    const peer = new Peer(link, this.#parts.limits, meter, (key, bytes) => this.#tooLarge(key, bytes));
    this.#peers.set(link.peer, peer);
    this.#greet(peer);
  }

  /** The meter of a peer outlives its link: whoever is cut off does not start afresh by linking anew. */
  #meterOf(id: PeerId): PeerMeter {
    const meter = this.#meters.get(id) ?? new PeerMeter(this.#parts.limits);
    this.#meters.delete(id);
    this.#meters.set(id, meter);
    for (const other of this.#meters.keys()) {
      if (this.#meters.size <= METERS_MAX) break;
      if (other !== id && !this.#peers.has(other)) this.#meters.delete(other);
    }
    return meter;
  }

  /** A peer would close the link. Said once of each group. */
  #tooLarge(key: string, bytes: number): void {
    const group = this.#core.groups.view(key);
    if (group === undefined || this.#toldTooLarge.has(key) || this.#toldTooLarge.size >= TOLD_MAX) return;
    this.#toldTooLarge.add(key);
    const { messageBytesMax } = this.#parts.limits;
    const message = `group ${formatGroupId(group.id)}: ${bytes} bytes in one message are above ${messageBytesMax} (messageBytesMax): they are not sent`;
    this.#core.notice("LIMIT_EXCEEDED", message, { group: group.id });
  }

  linkDown(link: Link): void {
    const peer = this.#peers.get(link.peer);
    if (peer === undefined || peer.link.incarnation !== link.incarnation) return;
    this.#peers.delete(link.peer);
    this.#core.watch.forgetPeer(link.peer);
    this.#parts.antiEntropy.left(peer);
    for (const probe of this.#probes) this.#probed(probe, link.peer);
    this.#parts.gossip.heartbeat();
  }

  drained(link: Link): void {
    this.#peers.get(link.peer)?.drained();
  }

  /** Says hello again to the peers whose hello has not come: it, or ours, was lost. */
  greetAgain(): void {
    for (const peer of this.#peers.values()) if (peer.hello === undefined) this.#greet(peer);
  }

  #greet(peer: Peer): void {
    const heard = peer.hello !== undefined;
    peer.post(encodeMessage({ kind: "hello", protocol: PROTOCOL_VERSION, heard, domains: this.#parts.domains }));
  }

  #onHello(peer: Peer, hello: Hello): void {
    if (hello.protocol !== PROTOCOL_VERSION) {
      const message = `the peer speaks protocol ${hello.protocol}, this node ${PROTOCOL_VERSION}; use versions that match`;
      throw new ReplicationError("MALFORMED_FRAME", message);
    }
    const isFirst = peer.hello === undefined;
    peer.hello = hello;
    if (!hello.heard) this.#greet(peer);
    if (!isFirst) return;
    this.#parts.presence.greet(peer);
    this.#parts.exchange.greet(peer);
    this.#parts.gossip.heartbeat();
    this.#parts.catchUp.greet();
    this.#parts.reads.greet(peer);
    for (const { left, question } of this.#probes) if (left.has(peer.id)) peer.post(question);
    // One side is enough: the other answers with what differs.
    if (this.#parts.self > peer.id) this.#parts.antiEntropy.begin(peer);
  }

  frame(link: Link, bytes: Uint8Array): void {
    const peer = this.#peers.get(link.peer);
    if (peer === undefined) return;
    peer.counts.bytesIn += bytes.length;
    try {
      // All of it is read before any of it counts.
      const messages = unpackFrame(bytes).map((encoded) => decodeMessage(encoded));
      for (const message of messages) this.#message(peer, message);
    } catch (error) {
      if (!isPeersFault(error)) throw error;
      this.#core.counts.framesRejected++;
      this.#core.notice("MALFORMED_FRAME", `${error.message}; the link is closed`, { peer: link.peer });
      this.#parts.drop(link.peer);
    }
  }

  #message(peer: Peer, message: Message | undefined): void {
    if (message === undefined) return;
    const { gossip, antiEntropy, acknowledgements, verification, presence } = this.#parts;
    switch (message.kind) {
      case "hello":
        return this.#onHello(peer, message);
      case "heartbeat":
        return gossip.onHeartbeat(peer, message);
      case "events":
        return gossip.onEvents(peer, message);
      case "sums":
        return antiEntropy.onSums(peer, message);
      case "list":
        return antiEntropy.onList(peer, message);
      case "sketch":
        return antiEntropy.onSketch(peer, message);
      case "more":
        return antiEntropy.onMore(peer, message);
      case "want":
        return antiEntropy.onWant(peer, message);
      case "vector":
        antiEntropy.onVector(peer, message);
        this.#parts.stability.onVector(peer, message);
        this.#parts.catchUp.onVector(peer, message);
        for (const probe of this.#probes) if (probe.key === message.group.key) this.#probed(probe, peer.id);
        return;
      case "state":
        return antiEntropy.onState(peer, message);
      case "remind":
        return acknowledgements.onReminder(peer, message);
      case "ack":
        this.#core.counts.acksReceived++;
        return acknowledgements.onAck(peer, message);
      case "conflict":
        return antiEntropy.onConflict(peer, message.group);
      case "check":
        return verification.onCheck(peer, message);
      case "point":
        return this.#parts.reads.onPoint(peer, message);
      case "presence":
        return presence.onPresence(peer, message);
      case "broadcast":
        return this.#parts.broadcasts.onBroadcast(peer, message);
      case "members":
        return this.#parts.exchange.onMembers(message);
      case "fragment": {
        antiEntropy.progress(peer);
        const whole = peer.reassembly.add(message);
        return whole === undefined ? undefined : this.#message(peer, decodeMessage(whole));
      }
    }
  }

  /**
   * Asks every peer whether it knows a group, and calls back when all have answered or gone. Returns how to stop, which
   * calls back that not all have.
   */
  probe(key: string, typeName: string, done: Probe["done"]): () => void {
    const { vector } = emptyMeta(key, key, typeName, 0);
    const group = { key, type: typeName, epoch: 0 };
    const question = encodeMessage({ kind: "vector", group, intent: "ask", vector });
    const probe: Probe = { key, question, left: new Set(this.#peers.keys()), done };
    this.#probes.add(probe);
    // Those that have not said hello yet are asked when they do.
    for (const peer of this.#peers.values()) if (peer.hello !== undefined) peer.post(question);
    if (probe.left.size === 0) this.#endProbe(probe, true);
    return () => this.#endProbe(probe, false);
  }

  #probed(probe: Probe, peer: PeerId): void {
    if (probe.left.delete(peer) && probe.left.size === 0) this.#endProbe(probe, true);
  }

  #endProbe(probe: Probe, isAnswered: boolean): void {
    if (this.#probes.delete(probe)) probe.done(isAnswered);
  }
}

function isPeersFault(error: unknown): error is Error {
  return error instanceof CrdtError || error instanceof StorageError || error instanceof ReplicationError;
}
