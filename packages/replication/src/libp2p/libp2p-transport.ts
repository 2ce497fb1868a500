import "./globals.ts";
import type { Connection, ConnectionGater, Stream } from "@libp2p/interface";
import { abortQuietly } from "./abort-quietly.ts";
import { type Admission, type Invitation, Reception, presentInvite } from "./admission.ts";
import type { Multiaddr } from "@multiformats/multiaddr";
import type { Libp2p } from "libp2p";
import { ReplicationError } from "../error.ts";
import { checkNames, checkStrings, invalid } from "../option-checks.ts";
import {
  type DiscoverySource,
  FRAME_BYTES_MAX,
  type Link,
  type PeerId,
  type Transport,
  type TransportContext,
  type TransportEvents,
} from "../transport.ts";
import { checkPeerId, parseDialAddress, parseHint, parseListenAddress, peerOf, withoutPeer } from "./address.ts";
import { discoverLocally, unref } from "#platform";
import { Dialler } from "./dialler.ts";
import { Introducer } from "./introductions.ts";
import { LinkTable } from "./link-table.ts";
import type { LocalDiscovery } from "./local-discovery.ts";
import { parseNetworkKey } from "./network-key.ts";
import { createNode, dialAlone, loadIdentity } from "./node.ts";
import { FrameType, PROTOCOL } from "./wire.ts";

/** Options of {@link libp2pTransport}. */
export interface Libp2pTransportOptions {
  /**
   * Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/4001` or `/ip4/0.0.0.0/tcp/4002/ws`; port 0 takes a free one.
   * None by default: the node then only dials.
   */
  readonly listen?: readonly string[];
  /** Multiaddrs to dial from the start and whenever the link is lost. The node's own are skipped. None by default. */
  readonly peers?: readonly string[];
  /**
   * Peer ids that may dial this node; `"any"` admits everybody. By default those that `peers` names in `/p2p/` parts.
   * Whoever this node dials on purpose, by `peers` or `connect`, is admitted as soon as its id is known, from the
   * address or from the first connection. Without any of these nobody is admitted.
   */
  readonly allow?: readonly string[] | "any";
  /** Admits peers that present an invite while the node runs. None by default. */
  readonly admission?: Admission;
  /**
   * An invite to present before anything is dialled: `start` then fails with `NOT_ADMITTED` when its host refuses it, and
   * with `DIAL_FAILED` when that cannot be reached. Its addresses belong into `peers`, too. None by default.
   */
  readonly invitation?: Invitation;
  /** Multiaddrs to tell others instead of those listened on, for a node behind a port forwarding. */
  readonly announce?: readonly string[];
  /**
   * A secret of the whole network, from `createNetworkKey`: nodes without it cannot even begin to talk to this one. 32
   * bytes, their 64 hexadecimal digits, or the text of a swarm key file. It encrypts all traffic once more, which takes a
   * quarter of the throughput. None by default.
   */
  readonly networkKey?: string | Uint8Array;
  /**
   * Whether to find other nodes on the local network by multicast DNS, and be found. Dialled are those that `allow` (or
   * `peers`) admits, while there are fewer than eight links. A number sets how often to ask, in milliseconds; 10 000 by
   * default. False by default.
   */
  readonly mdns?: boolean | number;
  /** Connections at a time, both ways; more inbound ones are refused. 300 by default. */
  readonly connectionsMax?: number;
  /** Inbound connections a second from one host; more are refused. 100 by default. */
  readonly inboundConnectionsPerSecond?: number;
  /** A link shows life this often, and is reset after three to four silent intervals. 5 000 by default. */
  readonly heartbeatMs?: number;
}

/**
 * Links over libp2p: TCP and WebSockets, TLS or Noise, one stream a peer. A node's name is its peer id, whose key is
 * the context's secret `identity`.
 *
 * Throws `BAD_ADDRESS` for a multiaddr it cannot use and `INVALID_OPTIONS` for other bad options, at once. `start`
 * fails with `BAD_ADDRESS` if it cannot listen.
 */
export function libp2pTransport(options: Libp2pTransportOptions = {}): Transport {
  return new Libp2pTransport(checkOptions(options));
}

interface CheckedOptions {
  readonly listen: readonly Multiaddr[];
  readonly peers: readonly Multiaddr[];
  readonly announce: readonly Multiaddr[];
  readonly allow: ReadonlySet<PeerId> | "any";
  readonly admission: Admission | undefined;
  readonly invitation: Invitation | undefined;
  /** Whether `allow` was given: then the peers of the last run need to be in it. */
  readonly isAllowGiven: boolean;
  readonly networkKey: Uint8Array | undefined;
  /** How often to ask the local network; undefined: never. */
  readonly mdnsMs: number | undefined;
  readonly connectionsMax: number;
  readonly inboundConnectionsPerSecond: number;
  readonly heartbeatMs: number;
}

interface Running {
  readonly context: TransportContext;
  readonly node: Libp2p;
  readonly table: LinkTable;
  readonly dialler: Dialler;
  readonly heartbeat: NodeJS.Timeout;
  readonly introducer: Introducer | undefined;
  /** Set once started, where wanted. */
  local?: LocalDiscovery;
}

/** While a node has fewer links, it dials whom it finds on the local network. */
const LOCAL_LINKS_WANTED = 8;
const MDNS_MS = 10_000;
/** How long a connection may be without a stream of ours. */
const UNUSED_MS_MAX = 20_000;
/** Refused peers for which a notice was raised, before the memory of them is cleared. */
const REFUSED_MAX = 1_000;

class Libp2pTransport implements Transport {
  readonly #options: CheckedOptions;
  #starting: Promise<PeerId> | undefined;
  #stopping: Promise<void> | undefined;
  #running: Running | undefined;
  readonly #dialled: Set<PeerId>;
  /** Linked in the last run, where nobody says who is admitted. */
  readonly #remembered = new Set<PeerId>();
  #events: TransportEvents | undefined;
  readonly #reception: Reception | undefined;
  readonly #refused = new Set<PeerId>();
  /** Dialled addresses that have got as far as encryption, to tell a refusal from an unreachable host. */
  readonly #encrypted = new Set<string>();

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.#reception = options.admission === undefined ? undefined : new Reception(options.admission);
    this.#dialled = new Set(options.peers.map(peerOf).filter((peer) => peer !== undefined));
  }

  async start(context: TransportContext, { signal }: { signal?: AbortSignal } = {}): Promise<PeerId> {
    signal?.throwIfAborted();
    if (this.#starting !== undefined || this.#stopping !== undefined) throw new TypeError("a transport starts once");
    this.#starting = this.#start(context, signal);
    return this.#starting;
  }

  async #start(context: TransportContext, signal: AbortSignal | undefined): Promise<PeerId> {
    this.#events = context.events;
    const privateKey = await loadIdentity(context);
    const node = await createNode({ ...this.#options, privateKey, connectionGater: this.#gater() });
    const running = this.#assemble(context, node);
    await node.handle(PROTOCOL, (stream, connection) => this.#accept(running.table, stream, connection), {
      maxInboundStreams: 4,
      maxOutboundStreams: 4,
    });
    const { invitation } = this.#options;
    try {
      await this.#reception?.open(node);
      await running.introducer?.open(node);
      await node.start();
      signal?.throwIfAborted();
      if (invitation !== undefined) await presentInvite(node, invitation, signal);
      if (this.#options.mdnsMs !== undefined)
        running.local = await this.#discoverLocally(running, this.#options.mdnsMs);
      if (this.#stopping !== undefined) throw new ReplicationError("CLOSED", "stopped while starting");
    } catch (error) {
      clearInterval(running.heartbeat);
      running.introducer?.close();
      this.#reception?.close();
      await running.local?.stop();
      await node.stop();
      if (signal?.aborted === true || error instanceof ReplicationError) throw error;
      const where = this.#options.listen.join(", ");
      throw new ReplicationError("BAD_ADDRESS", `cannot listen on ${where}: ${listenTrouble(error)}`, { cause: error });
    }
    this.#running = running;
    const self = node.peerId.toString();
    for (const address of this.#options.peers) if (peerOf(address) !== self) running.dialler.keep(address);
    return self;
  }

  #discoverLocally({ node, table }: Running, intervalMs: number): Promise<LocalDiscovery> {
    return discoverLocally(node, intervalMs, (addresses) => {
      if (table.linkCount < LOCAL_LINKS_WANTED) this.discovered(addresses, "peers");
    });
  }

  addresses(): readonly string[] {
    return this.#running?.node.getMultiaddrs().map(String) ?? [];
  }

  send(link: Link, frame: Uint8Array): boolean {
    if (frame.length > FRAME_BYTES_MAX) {
      throw new ReplicationError("FRAME_TOO_LARGE", `a frame of ${frame.length} bytes is over ${FRAME_BYTES_MAX}`);
    }
    return this.#running?.table.sessionOf(link)?.channel.send(FrameType.data, frame) ?? true;
  }

  pause(link: Link): void {
    this.#running?.table.sessionOf(link)?.channel.pause();
  }

  resume(link: Link): void {
    this.#running?.table.sessionOf(link)?.channel.resume();
  }

  async connect(address: string, { signal }: { signal?: AbortSignal } = {}): Promise<Link> {
    signal?.throwIfAborted();
    const parsed = parseDialAddress(address);
    const running = this.#running;
    if (running === undefined) throw new ReplicationError("CLOSED", "the transport is not running");
    const peer = peerOf(parsed);
    if (peer === running.node.peerId.toString()) {
      throw new ReplicationError("BAD_ADDRESS", `${JSON.stringify(address)} is this node's own address`);
    }
    if (peer !== undefined) this.#dialled.add(peer);
    return running.dialler.connect(parsed, signal);
  }

  discovered(addresses: readonly string[], source: DiscoverySource): void {
    const running = this.#running;
    if (running === undefined) return;
    for (const text of addresses) {
      const address = parseHint(text);
      const peer = address === undefined ? undefined : peerOf(address);
      if (address === undefined || peer === undefined || peer === running.node.peerId.toString()) continue;
      // Without a list of its own, a node admits whom it has dialled on purpose, in the last run too.
      if (source === "record" && !this.#options.isAllowGiven) this.#remembered.add(peer);
      if (this.#admits(peer)) running.dialler.follow(address);
    }
  }

  #admits(peer: PeerId): boolean {
    const { allow, admission } = this.#options;
    if (allow === "any" || allow.has(peer) || this.#dialled.has(peer)) return true;
    if (admission?.roll?.isRemoved(peer) === true) return false;
    return this.#remembered.has(peer) || admission?.admits(peer) === true;
  }

  /** Ends the links to peers that are admitted no longer. */
  #dropRemoved(): void {
    const links = this.#running?.table.peers() ?? [];
    for (const peer of links) {
      if (this.#options.admission?.roll?.isRemoved(peer) === true && !this.#admits(peer)) void this.disconnect(peer);
    }
  }

  /** A guest, who is connected only to present an invite, gets no further. */
  #accept(table: LinkTable, stream: Stream, connection: Connection): void {
    const peer = connection.remotePeer.toString();
    if (connection.direction === "outbound" || this.#admits(peer)) table.accept(stream, connection);
    else {
      this.#noticeRefused(peer);
      abortQuietly(connection, new Error("the peer is not admitted"));
    }
  }

  async disconnect(peer: PeerId): Promise<void> {
    this.#running?.dialler.disconnect(peer);
    await this.#running?.table.disconnect(peer);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#starting?.catch(() => undefined);
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    clearInterval(running.heartbeat);
    running.dialler.stop();
    running.introducer?.close();
    this.#reception?.close();
    await running.local?.stop();
    await running.table.stop();
    // Whatever has not closed by now is not worth waiting for; libp2p alone would wait half a second for each.
    for (const connection of running.node.getConnections()) abortQuietly(connection, new Error("the transport stops"));
    await running.node.stop();
  }

  #assemble(context: TransportContext, node: Libp2p): Running {
    const { events, incarnation } = context;
    const self = node.peerId.toString();
    const table = new LinkTable({
      self,
      incarnation,
      addresses: () => node.getMultiaddrs().map(String),
      events,
      onUp: (link) => {
        dialler.onUp(link);
        introducer?.changed();
      },
      onDown: (link) => {
        dialler.onDown(link);
        introducer?.changed();
      },
    });
    const introducer = this.#newIntroducer(self, table);
    const dialler: Dialler = new Dialler({
      self,
      dial: (address, signal) => dialAlone(node, address, signal),
      openStream: (connection, signal): Promise<Stream> => connection.newStream(PROTOCOL, { signal }),
      open: (stream, connection: Connection) => table.open(stream, connection),
      linkTo: (peer) => table.linkTo(peer),
      wasEncrypted: (address) => this.#encrypted.delete(address),
      admit: (peer) => void this.#dialled.add(peer),
      notice: (code, message, peer) => {
        if (this.#stopping === undefined) events.notice(code, message, peer);
      },
    });
    const beat = (): void => {
      table.beat();
      introducer?.tell();
      closeUnused(node);
    };
    const heartbeat = unref(setInterval(beat, this.#options.heartbeatMs));
    return { context, node, table, dialler, heartbeat, introducer };
  }

  #newIntroducer(self: PeerId, table: LinkTable): Introducer | undefined {
    const roll = this.#options.admission?.roll;
    if (roll === undefined) return undefined;
    return new Introducer({
      self,
      roll,
      admits: (peer) => this.#admits(peer),
      linked: () => table.peers(),
      rollChanged: () => this.#dropRemoved(),
    });
  }

  #noticeRefused(peer: PeerId): void {
    if (this.#refused.has(peer) || this.#stopping !== undefined) return;
    if (this.#refused.size >= REFUSED_MAX) this.#refused.clear();
    this.#refused.add(peer);
    const introducer = this.#options.admission?.roll?.introducerOf(peer);
    const advice = "to admit it, add its id to `allow`";
    const message =
      introducer === undefined
        ? `refused ${peer}: ${advice}, or let it come by an invite`
        : `refused ${peer}, which an invite of ${introducer} let in: ${advice}, or take introductions of members (\`--introductions on\`)`;
    this.#events?.notice("NOT_ADMITTED", message, peer);
  }

  #gater(): ConnectionGater {
    return {
      // libp2p's own gater refuses private addresses in browsers.
      denyDialMultiaddr: () => false,
      denyInboundEncryptedConnection: (peerId) => {
        const peer = peerId.toString();
        if (this.#admits(peer) || this.#reception?.letsIn(peer) === true) return false;
        this.#noticeRefused(peer);
        return true;
      },
      denyOutboundEncryptedConnection: (_peerId, connection) => {
        this.#encrypted.add(withoutPeer(connection.remoteAddr));
        return false;
      },
    };
  }
}

/** What libp2p says of addresses that it cannot listen on has a stack trace for each. */
function listenTrouble(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const reasons = new Set(message.match(/(?<=Error: )listen .*/g));
  if (reasons.size === 0) return message;
  const isTaken = message.includes("EADDRINUSE");
  return `${[...reasons].join("; ")}${isTaken ? "; choose another port, 0 takes any free one" : ""}`;
}

/** A connection on which nobody opens a stream occupies a place among `connectionsMax`. */
function closeUnused(node: Libp2p): void {
  for (const connection of node.getConnections()) {
    const isUsed = connection.streams.some(({ protocol }) => protocol === PROTOCOL);
    // `timeline` is in wall-clock time; a clock that jumps costs a dial at worst.
    const isOld = Date.now() - (connection.timeline.open ?? 0) > UNUSED_MS_MAX;
    if (isOld && !isUsed) abortQuietly(connection, new Error("the connection is not used"));
  }
}

/** Every option, so that a misspelt one is not ignored. */
const OPTIONS: Readonly<Record<keyof Libp2pTransportOptions, true>> = {
  listen: true,
  peers: true,
  allow: true,
  admission: true,
  invitation: true,
  announce: true,
  networkKey: true,
  mdns: true,
  connectionsMax: true,
  inboundConnectionsPerSecond: true,
  heartbeatMs: true,
};

function checkOptions(options: Libp2pTransportOptions): CheckedOptions {
  checkNames("libp2pTransport", options, OPTIONS);
  const peers = checkStrings("peers", options.peers ?? []).map(parseDialAddress);
  const named = peers.map(peerOf).filter((peer) => peer !== undefined);
  return {
    listen: checkStrings("listen", options.listen ?? []).map(parseListenAddress),
    announce: checkStrings("announce", options.announce ?? []).map(parseDialAddress),
    peers,
    admission: options.admission,
    invitation: options.invitation,
    isAllowGiven: options.allow !== undefined,
    networkKey: options.networkKey === undefined ? undefined : parseNetworkKey(options.networkKey),
    mdnsMs: intervalOf(options.mdns ?? false),
    allow: checkAllow(options.allow ?? named),
    connectionsMax: atLeast(1, "connectionsMax", options.connectionsMax ?? 300),
    inboundConnectionsPerSecond: atLeast(1, "inboundConnectionsPerSecond", options.inboundConnectionsPerSecond ?? 100),
    heartbeatMs: atLeast(10, "heartbeatMs", options.heartbeatMs ?? 5_000),
  };
}

function checkAllow(allow: readonly string[] | "any"): ReadonlySet<PeerId> | "any" {
  if (allow === "any") return allow;
  if (typeof allow === "string")
    throw invalid(`allow: ${JSON.stringify(allow)} is neither "any" nor a list of peer ids`);
  return new Set(checkStrings("allow", allow).map(checkPeerId));
}

function intervalOf(mdns: boolean | number): number | undefined {
  if (typeof mdns === "boolean") return mdns ? MDNS_MS : undefined;
  return atLeast(100, "mdns", mdns);
}

function atLeast(min: number, name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw invalid(`${name}: ${value} is no whole number of at least ${min}`);
}
