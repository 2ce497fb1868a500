/** A node's name on its transport: with libp2p its peer id. */
export type PeerId = string;

/** Largest frame that a transport carries, in bytes. */
export const FRAME_BYTES_MAX: number = 256 * 1024;

/** A link that stands: both sides have said hello and admitted each other. */
export interface Link {
  readonly peer: PeerId;
  /** The other process: differs after a restart under the same peer id. 16 hexadecimal digits. */
  readonly incarnation: string;
  /** Where the peer can be dialled, as it says itself. */
  readonly addresses: readonly string[];
}

/** Why a link ended. */
export type LinkEnd = "closed" | "reset" | "superseded" | "rejected" | "stopped";

/** Who knew of an address: linked peers, or the last run of this node. */
export type DiscoverySource = "peers" | "record";

/** What a transport tells its node. Calls come in order; none comes after `stop()` has resolved. */
export interface TransportEvents {
  linkUp(link: Link): void;
  /** The link is gone; frames not delivered by now are lost. */
  linkDown(link: Link, reason: LinkEnd): void;
  /** One whole frame, as it was sent, in order. The bytes are the receiver's to keep. */
  frame(link: Link, bytes: Uint8Array): void;
  /**
   * The frames that came together have been told: now is the time to act on them. A transport that does not call this
   * leaves its node to do so a moment later.
   */
  delivered?(): void;
  /** The link's queue is below its mark again after `send` returned false. */
  drained(link: Link): void;
  /** Something worth a line in the log that ended no link: a refused peer, a failed dial that will be tried again. */
  notice(code: string, message: string, peer?: PeerId): void;
}

/** What a transport gets from its node at start. */
export interface TransportContext {
  readonly events: TransportEvents;
  /** 16 hexadecimal digits, fresh for this process. */
  readonly incarnation: string;
  /** A small secret kept with the node's data, such as a private key. */
  readSecret(name: string): Promise<Uint8Array | undefined>;
  writeSecret(name: string, bytes: Uint8Array): Promise<void>;
}

/**
 * Carries frames between nodes: one link per pair of processes, each frame delivered at most once and in order.
 * A transport promises neither delivery (anti-entropy repairs loss) nor that both sides see a link end together.
 *
 * `transportSuite` (`@coppice/replication/testing`) holds every implementation to this.
 */
export interface Transport {
  /** Starts listening and dialling. Resolves to this node's id once it can be dialled. */
  start(context: TransportContext, options?: { signal?: AbortSignal }): Promise<PeerId>;
  /** Addresses under which this node can be dialled. */
  addresses(): readonly string[];
  /**
   * Sends one frame of at most {@link FRAME_BYTES_MAX} bytes, which must not change afterwards. False: the frame is
   * queued, but the queue is above its mark; send no more until `drained`. On a link that is down: dropped, true.
   */
  send(link: Link, frame: Uint8Array): boolean;
  /**
   * Holds back a link's frames until `resume`, so that the peer's queue fills and its `send` answers false. Buffers
   * at most a few MiB meanwhile. Nothing on a link that is down.
   */
  pause(link: Link): void;
  /** Delivers frames again, beginning with those held back; never from within this call. */
  resume(link: Link): void;
  /**
   * Dials an address and keeps dialling it whenever the link is lost. Resolves once a link stands. Fails with
   * `ReplicationError`: `BAD_ADDRESS`, `DIAL_FAILED`, `NOT_ADMITTED`; on abort with the signal's reason.
   */
  connect(address: string, options?: { signal?: AbortSignal }): Promise<Link>;
  /**
   * Hints where peers may be reached, as other peers (`peers`) or the last run (`record`) knew it: each is dialled for a
   * while, unless it is linked or not admitted. Promises nothing, fails never, raises no notice. A transport that has no
   * use for hints ignores them.
   */
  discovered(addresses: readonly string[], source: DiscoverySource): void;
  /** Ends the link to a peer and stops redialling it. */
  disconnect(peer: PeerId): Promise<void>;
  /** Ends all links and listeners; idempotent. */
  stop(): Promise<void>;
}
