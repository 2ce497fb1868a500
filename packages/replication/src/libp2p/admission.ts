/**
 * How a peer that nobody knows yet gets in: with an invite, presented on a `/coppice/admission/1` stream.
 *
 * | from   | bytes                            |
 * |--------|----------------------------------|
 * | joiner | the invite: 1 byte length, 1 to 255 bytes that only the host of the invite understands |
 * | host   | 1 admitted, 2 refused            |
 *
 * The connection has proven both peer ids by then. While the host has open invites, connections of unknown peers are let
 * in as far as this protocol: few at a time, each for one invite and some seconds. At all other times such a peer is
 * refused before it can say anything.
 */
import type { Connection, Stream } from "@libp2p/interface";
import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import type { Libp2p } from "libp2p";
import { ReplicationError } from "../error.ts";
import type { PeerId } from "../transport.ts";
import { unref } from "#platform";
import { abortQuietly } from "./abort-quietly.ts";
import type { Roll } from "./introductions.ts";
import { dialAlone } from "./node.ts";

export const ADMISSION_PROTOCOL = "/coppice/admission/1";

/** Whom a node admits beside those it was told of, decided while it runs. Calls never throw. */
export interface Admission {
  /** Whether a peer was admitted before. Asked for each connection. */
  admits(peer: PeerId): boolean;
  /** Whether there is an invite that a peer may present, and nobody tries too many. */
  isOpen(): boolean;
  /** A peer, whose id is proven, presents an invite. Resolves to whether it is admitted, once that is stored. */
  redeem(peer: PeerId, invite: Uint8Array): Promise<boolean>;
  /** What members tell each other of admission; without it they tell each other nothing. */
  readonly roll?: Roll;
}

/** An invite to present. */
export interface Invitation {
  /** Where its host may be reached; each with `/p2p/`. */
  readonly addresses: readonly string[];
  /** What to present: 1 to 255 bytes. */
  readonly invite: Uint8Array;
}

const ADMITTED = 1;
const REFUSED = 2;
/** Unknown peers connected at a time. */
const GUESTS_MAX = 16;
/** How long an unknown peer may stay. */
const GUEST_MS_MAX = 10_000;
/** The answer is to arrive before the connection ends. */
const REFUSED_MS = 1000;
/** A length and an invite. */
const MESSAGE_BYTES_MAX = 256;
/** For one address. */
const JOIN_MS_MAX = 10_000;

/** The host's side. */
export class Reception {
  readonly #admission: Admission;
  readonly #guests = new Set<PeerId>();
  readonly #heard = new WeakSet<Connection>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(admission: Admission) {
    this.#admission = admission;
  }

  async open(node: Libp2p): Promise<void> {
    await node.handle(ADMISSION_PROTOCOL, (stream, connection) => void this.#receive(stream, connection), {
      maxInboundStreams: 1,
    });
    node.addEventListener("connection:open", ({ detail: connection }) => this.#limit(connection));
    node.addEventListener("peer:disconnect", ({ detail: peer }) => this.#guests.delete(peer.toString()));
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  /** Whether an unknown peer may connect, to present an invite. */
  letsIn(peer: PeerId): boolean {
    if (!this.#admission.isOpen()) return false;
    if (!this.#guests.has(peer) && this.#guests.size >= GUESTS_MAX) return false;
    this.#guests.add(peer);
    // Should it never get to be a connection.
    this.#later(GUEST_MS_MAX, () => this.#guests.delete(peer));
    return true;
  }

  #limit(connection: Connection): void {
    const peer = connection.remotePeer.toString();
    if (!this.#guests.has(peer)) return;
    this.#later(GUEST_MS_MAX, () => {
      this.#guests.delete(peer);
      if (!this.#admission.admits(peer)) abortQuietly(connection, new Error("it was not admitted in time"));
    });
  }

  #later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(unref(timer));
  }

  async #receive(stream: Stream, connection: Connection): Promise<void> {
    const peer = connection.remotePeer.toString();
    if (this.#heard.has(connection)) {
      abortQuietly(connection, new Error("a connection presents one invite"));
      return;
    }
    this.#heard.add(connection);
    const reader = new ShortReader(stream);
    const signal = AbortSignal.timeout(GUEST_MS_MAX);
    try {
      const [length = 0] = await reader.read(1, signal);
      const invite = await reader.read(length, signal);
      const isAdmitted = await this.#admission.redeem(peer, invite);
      stream.send(Uint8Array.of(isAdmitted ? ADMITTED : REFUSED));
      await stream.close({ signal });
      if (!isAdmitted) this.#later(REFUSED_MS, () => abortQuietly(connection, new Error("it was refused")));
    } catch (error) {
      abortQuietly(connection, error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/**
 * The joiner's side: presents an invite at the first address that answers. Fails with `NOT_ADMITTED` when the host
 * refuses it, and `DIAL_FAILED` when none of the addresses can be reached.
 */
export async function presentInvite(
  node: Libp2p,
  { addresses, invite }: Invitation,
  signal?: AbortSignal,
): Promise<void> {
  let last: unknown;
  for (const address of addresses) {
    signal?.throwIfAborted();
    const timeout = AbortSignal.timeout(JOIN_MS_MAX);
    try {
      await presentAt(
        node,
        multiaddr(address),
        invite,
        signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      );
      return;
    } catch (error) {
      if (error instanceof ReplicationError) throw error;
      last = error;
    }
  }
  signal?.throwIfAborted();
  const message = `the node that sent the invite is not reached at ${addresses.join(", ")}, or its invites have ended`;
  throw new ReplicationError("DIAL_FAILED", message, { cause: last });
}

async function presentAt(node: Libp2p, address: Multiaddr, invite: Uint8Array, signal: AbortSignal): Promise<void> {
  const connection = await dialAlone(node, address, signal);
  try {
    const stream = await connection.newStream(ADMISSION_PROTOCOL, { signal });
    const reader = new ShortReader(stream);
    stream.send(Uint8Array.of(invite.length, ...invite));
    const [answer] = await reader.read(1, signal);
    if (answer === ADMITTED) return;
    const reason = "it was used or revoked, or has expired: ask for another one";
    throw new ReplicationError("NOT_ADMITTED", `the invite was refused; ${reason}`);
  } finally {
    abortQuietly(connection, new Error("the invite was presented"));
  }
}

/** Collects the few bytes that a stream brings. */
export class ShortReader {
  readonly #bytes: number[] = [];
  #isEnded = false;
  #wake: () => void = () => undefined;

  /** Made at once when the stream opens, or bytes are missed. */
  constructor(stream: Stream) {
    stream.addEventListener("message", ({ data }) => {
      for (const chunk of data instanceof Uint8Array ? [data] : data) this.#take(chunk, stream);
    });
    for (const end of ["remoteCloseWrite", "close"] as const) {
      stream.addEventListener(end, () => {
        this.#isEnded = true;
        this.#wake();
      });
    }
  }

  async read(count: number, signal: AbortSignal): Promise<Uint8Array> {
    while (this.#bytes.length < count) {
      if (this.#isEnded) throw new Error("the stream ended early");
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    return Uint8Array.from(this.#bytes.splice(0, count));
  }

  #take(chunk: Uint8Array, stream: Stream): void {
    if (this.#bytes.length + chunk.length > MESSAGE_BYTES_MAX) abortQuietly(stream, new Error("too many bytes"));
    else this.#bytes.push(...chunk);
    this.#wake();
  }
}
