import type { Connection, Stream } from "@libp2p/interface";
import { multiaddr } from "@multiformats/multiaddr";
import { ReplicationError } from "../error.ts";
import type { Link, LinkEnd, PeerId, TransportEvents } from "../transport.ts";
import { Session, type SessionEvents } from "./session.ts";
import {
  ByeReason,
  decodeDecision,
  decodeHello,
  encodeDecision,
  encodeHello,
  FrameType,
  RejectReason,
  WireError,
} from "./wire.ts";

/** A new stream that is not the link within this time is given up. */
const HANDSHAKE_MS_MAX = 10_000;
/** How long a standing link may take to answer a probe before a newer stream takes its place. */
const PROBE_MS_MAX = 2_000;
/** How long a replaced process is listened to, to learn whether it is alive. */
const RETIRED_MS = 1_000;
/** Replaced incarnations remembered for each peer. */
const RETIRED_MAX = 8;

export interface LinkTableOptions {
  readonly self: PeerId;
  readonly incarnation: string;
  addresses(): readonly string[];
  readonly events: TransportEvents;
  /** After `events.linkUp` and `events.linkDown`, for whoever redials. */
  onUp(link: Link): void;
  onDown(link: Link): void;
}

/**
 * Which stream is the link with each peer. When both sides dial at once there are two candidates; the side with
 * the smaller peer id decides, one at a time, and numbers its decisions so that the other side can tell the latest.
 * A new stream of the same process takes over only when the standing link does not answer a probe, so that a race
 * ends in one link and not in a series; one of another process takes over at once.
 */
export class LinkTable {
  readonly #options: LinkTableOptions;
  readonly #sessions = new Set<Session>();
  readonly #up = new Map<PeerId, Session>();
  /** At most one stream a peer waits for the standing link's answer. */
  readonly #candidates = new Map<PeerId, Session>();
  /** Replaced by another process, oldest first. */
  readonly #retired = new Map<PeerId, string[]>();
  #decisions = 0;

  constructor(options: LinkTableOptions) {
    this.#options = options;
  }

  /** Takes a stream that the other side has opened. */
  accept(stream: Stream, connection: Connection): void {
    this.#begin(new Session(stream, connection, this.#sessionEvents, undefined));
  }

  /** Takes a stream opened here; resolves when it is the link. */
  open(stream: Stream, connection: Connection): Promise<Link> {
    return new Promise((resolve, reject) => {
      this.#begin(new Session(stream, connection, this.#sessionEvents, { resolve, reject }));
    });
  }

  get linkCount(): number {
    return this.#up.size;
  }

  /** The linked peers. */
  peers(): readonly PeerId[] {
    return [...this.#up.keys()];
  }

  linkTo(peer: PeerId): Link | undefined {
    return this.#up.get(peer)?.link;
  }

  /** The session that carries this very link, if it stands. */
  sessionOf(link: Link): Session | undefined {
    const session = this.#up.get(link.peer);
    return session?.link === link ? session : undefined;
  }

  beat(): void {
    for (const session of this.#up.values()) session.channel.beat();
  }

  /** Ends whatever there is with a peer. */
  async disconnect(peer: PeerId): Promise<void> {
    const sessions = [...this.#sessions].filter((session) => session.peer === peer);
    await Promise.all(sessions.map((session) => this.#leave(session, "closed")));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => this.#leave(session, "stopped")));
  }

  readonly #sessionEvents: SessionEvents = {
    data: (session, body) => {
      if (session.state !== "up" || session.link === undefined) {
        if (session.state === "retired") return;
        throw new WireError("data on a stream that is not the link");
      }
      this.#options.events.frame(session.link, body);
    },
    delivered: () => this.#options.events.delivered?.(),
    control: (session, type, body) => this.#onControl(session, type, body),
    drained: (session) => {
      if (session.state === "up" && session.link !== undefined) this.#options.events.drained(session.link);
    },
    ended: (session, problem) => this.#onEnded(session, problem),
  };

  #begin(session: Session): void {
    const { incarnation, addresses } = this.#options;
    this.#sessions.add(session);
    session.after(HANDSHAKE_MS_MAX, () => session.channel.abort(new Error("the other side did not finish its hello")));
    session.channel.send(FrameType.hello, encodeHello(incarnation, addresses()));
  }

  #onControl(session: Session, type: FrameType, body: Uint8Array): void {
    if (session.state === "retired") {
      // Something a dead process cannot have sent: an answer to what it was told when it was replaced.
      if (type === FrameType.alive) this.#noticeDuplicateIdentity(session.peer);
      return;
    }
    switch (type) {
      case FrameType.hello:
        return this.#onHello(session, body);
      case FrameType.accept:
        return this.#onAccept(session, decodeDecision(body));
      case FrameType.reject:
        return this.#onReject(session, body[0]);
      case FrameType.probe:
        return void session.channel.send(FrameType.alive);
      case FrameType.alive:
        return this.#onAlive(session);
      case FrameType.bye:
        return this.#onBye(session, body[0]);
      case FrameType.data:
        return;
    }
  }

  #onHello(session: Session, body: Uint8Array): void {
    if (session.state !== "greeting") throw new WireError("a second hello");
    const hello = decodeHello(body);
    session.hello = hello;
    session.state = "waiting";
    if (hello.incarnation === undefined) return this.#reject(session, RejectReason.version);
    const standing = this.#up.get(session.peer);
    const retired = this.#retired.get(session.peer) ?? [];
    if (standing !== undefined && standing.hello?.incarnation !== hello.incarnation) {
      if (retired.includes(hello.incarnation)) return this.#reject(session, RejectReason.duplicateIdentity);
    }
    if (this.#decides(session.peer)) this.#decide(session, standing);
  }

  #decides(peer: PeerId): boolean {
    return this.#options.self < peer;
  }

  #decide(session: Session, standing: Session | undefined): void {
    const known = standing?.hello?.incarnation;
    if (standing === undefined || known !== session.hello?.incarnation) return this.#choose(session);
    const earlier = this.#candidates.get(session.peer);
    this.#candidates.set(session.peer, session);
    if (earlier !== undefined) this.#reject(earlier, RejectReason.duplicateLink);
    standing.channel.send(FrameType.probe);
    session.after(PROBE_MS_MAX, () => this.#choose(session));
  }

  #choose(session: Session): void {
    session.decision = ++this.#decisions;
    session.channel.send(FrameType.accept, encodeDecision(session.decision));
    this.#raise(session);
  }

  #onAccept(session: Session, decision: number): void {
    if (session.state !== "waiting" || this.#decides(session.peer)) throw new WireError("an acceptance out of turn");
    session.decision = decision;
    const standing = this.#up.get(session.peer);
    const isLate = standing?.hello?.incarnation === session.hello?.incarnation && decision < (standing?.decision ?? 0);
    // The decider has chosen another stream since; this one is about to end.
    if (isLate) this.#give(session, new ReplicationError("DIAL_FAILED", "another link stands"));
    else this.#raise(session);
  }

  #raise(session: Session): void {
    const { peer, hello } = session;
    if (hello?.incarnation === undefined) throw new TypeError("a session comes up after its hello");
    if (this.#candidates.get(peer) === session) this.#candidates.delete(peer);
    const standing = this.#up.get(peer);
    if (standing !== undefined) this.#supersede(standing, hello.incarnation);
    clearTimeout(session.timer);
    const link: Link = { peer, incarnation: hello.incarnation, addresses: dialable(hello.addresses, peer) };
    session.link = link;
    session.state = "up";
    this.#up.set(peer, session);
    this.#options.events.linkUp(link);
    session.outcome?.resolve(link);
    this.#options.onUp(link);
  }

  #supersede(standing: Session, incarnation: string): void {
    const known = standing.hello?.incarnation;
    this.#lower(standing, "superseded");
    if (known === undefined || known === incarnation) return this.#give(standing, undefined);
    const retired = this.#retired.get(standing.peer) ?? [];
    this.#retired.set(standing.peer, [...retired.filter((other) => other !== known), known].slice(-RETIRED_MAX));
    standing.state = "retired";
    standing.channel.resume();
    standing.channel.send(FrameType.bye, Uint8Array.of(ByeReason.otherIncarnation));
    standing.after(RETIRED_MS, () => this.#give(standing, undefined));
  }

  /** Takes the link down, and leaves the stream to the caller. */
  #lower(session: Session, reason: LinkEnd): void {
    const { link } = session;
    if (link === undefined || this.#up.get(session.peer) !== session) return;
    this.#up.delete(session.peer);
    this.#options.events.linkDown(link, reason);
    this.#options.onDown(link);
  }

  /** Gives a stream up without a word. */
  #give(session: Session, error: Error | undefined): void {
    this.#forget(session);
    session.channel.drop();
    session.outcome?.reject(error ?? new ReplicationError("DIAL_FAILED", "the stream was given up"));
  }

  #forget(session: Session): void {
    session.end();
    this.#sessions.delete(session);
    if (this.#candidates.get(session.peer) === session) this.#candidates.delete(session.peer);
  }

  #reject(session: Session, reason: number): void {
    session.channel.send(FrameType.reject, Uint8Array.of(reason));
    this.#forget(session);
    this.#explain(session, reason);
    void session.channel.close();
  }

  #onReject(session: Session, reason: number | undefined): void {
    this.#forget(session);
    session.channel.drop();
    this.#lower(session, "rejected");
    this.#explain(session, reason ?? 0);
  }

  /** Settles the dial and raises the notice that belong to a rejection, whichever side spoke it. */
  #explain({ peer, outcome }: Session, reason: number): void {
    if (reason === RejectReason.duplicateLink) {
      outcome?.reject(new DuplicateLinkError(peer));
      return;
    }
    if (reason === RejectReason.duplicateIdentity) this.#noticeDuplicateIdentity(peer);
    if (reason === RejectReason.version) {
      this.#options.events.notice("VERSION_MISMATCH", `${peer} speaks another protocol version: upgrade one`, peer);
    }
    outcome?.reject(new ReplicationError("DIAL_FAILED", `${peer} and this node do not agree on a link (${reason})`));
  }

  #onAlive(session: Session): void {
    const candidate = this.#candidates.get(session.peer);
    if (candidate !== undefined && this.#up.get(session.peer) === session) {
      this.#reject(candidate, RejectReason.duplicateLink);
    }
  }

  #onBye(session: Session, reason: number | undefined): void {
    const isReplaced = reason === ByeReason.otherIncarnation;
    this.#forget(session);
    if (isReplaced) {
      // The answer tells the other side that two processes live under this identity.
      session.channel.send(FrameType.alive);
      void session.channel.close();
      this.#noticeDuplicateIdentity(this.#options.self);
    } else session.channel.drop();
    this.#lower(session, isReplaced ? "superseded" : "closed");
    session.outcome?.reject(new ReplicationError("DIAL_FAILED", `${session.peer} has ended the link`));
    this.#promote(session.peer);
  }

  #onEnded(session: Session, problem: Error | undefined): void {
    const { peer } = session;
    const greeted = session.hello !== undefined;
    this.#forget(session);
    if (problem instanceof WireError) {
      this.#options.events.notice("MALFORMED_FRAME", `reset the link with ${peer}: it sent ${problem.message}`, peer);
    }
    this.#lower(session, "reset");
    session.outcome?.reject(greeted || problem !== undefined ? endedError(peer, problem) : new Error("it hung up"));
    this.#promote(peer);
  }

  /** The standing link has ended: a stream that waited for its answer takes over. */
  #promote(peer: PeerId): void {
    const candidate = this.#candidates.get(peer);
    if (candidate !== undefined && !this.#up.has(peer)) this.#choose(candidate);
  }

  async #leave(session: Session, reason: LinkEnd): Promise<void> {
    this.#forget(session);
    this.#lower(session, reason);
    session.outcome?.reject(new ReplicationError("CLOSED", "the transport ends the link"));
    session.channel.send(FrameType.bye, Uint8Array.of(ByeReason.closed));
    await session.channel.close();
  }

  #noticeDuplicateIdentity(peer: PeerId): void {
    const who = peer === this.#options.self ? "this node" : peer;
    const advice = "stop one of them, or give it a data directory (and with it an identity) of its own";
    this.#options.events.notice("DUPLICATE_IDENTITY", `two live processes use the identity of ${who}: ${advice}`, peer);
  }
}

/** This stream is not needed, because another link with the peer stands or is about to. */
export class DuplicateLinkError extends Error {
  override readonly name = "DuplicateLinkError";
  readonly peer: PeerId;

  constructor(peer: PeerId) {
    super(`another link with ${peer} stands`);
    this.peer = peer;
  }
}

function endedError(peer: PeerId, cause: Error | undefined): ReplicationError {
  return new ReplicationError("DIAL_FAILED", `the connection with ${peer} ended during the handshake`, { cause });
}

/** Only addresses that parse and name that very peer: what a peer says is passed on to others. */
function dialable(addresses: readonly string[], peer: PeerId): string[] {
  return addresses.filter((address) => {
    try {
      return multiaddr(address).toString().endsWith(`/p2p/${peer}`);
    } catch {
      return false;
    }
  });
}
