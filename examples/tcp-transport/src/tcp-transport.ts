import { once } from "node:events";
import { type Server, type Socket, createConnection, createServer } from "node:net";
import {
  type DiscoverySource,
  FRAME_BYTES_MAX,
  type Link,
  type LinkEnd,
  type PeerId,
  ReplicationError,
  type Transport,
  type TransportContext,
} from "coppice";
import { Connection, type Hello, readHello } from "./connection.ts";

/** How often a connection says that it stands. */
const ALIVE_MS = 5_000;
/** Pauses between two dials: the first one, and the longest. */
const REDIAL_MS = 200;
const REDIAL_MS_MAX = 5_000;
const HINT_FAILURES_MAX = 10;
const ADDRESS = /^tcp:(.+):(\d{1,5})$/;

interface Waiter {
  resolve(link: Link): void;
  reject(error: unknown): void;
}

/** An address that is dialled until its peer is linked and, once that was, whenever the link is lost. */
interface Dial {
  readonly address: string;
  readonly waiters: Set<Waiter>;
  /** Who answered there last. */
  peer: PeerId | undefined;
  connection: Connection | undefined;
  timer: ReturnType<typeof setTimeout> | undefined;
  isKept: boolean;
  isHint: boolean;
  failures: number;
}

export interface TcpTransportOptions {
  /** By default a free port of this host, for peers on the same. */
  readonly host?: string;
  readonly port?: number;
  /** The peers that may dial this node; those that it dials itself always may. */
  readonly allow: readonly PeerId[] | "any";
}

/** Links over TCP, not encrypted, with peers that are believed who they say they are: for a network of your own. */
export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions;
  readonly #server: Server = createServer((socket) => this.#accept(socket));
  readonly #connections = new Set<Connection>();
  readonly #dials = new Map<string, Dial>();
  /** The connection that carries the link to a peer. */
  readonly #links = new Map<PeerId, Connection>();
  /** The latest connection of each peer that was answered, and that it has not confirmed. */
  readonly #offers = new Map<PeerId, Connection>();
  #context: TransportContext | undefined;
  #id: PeerId = "";
  #addresses: readonly string[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #isStopped = false;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
  }

  async start(context: TransportContext, { signal }: { signal?: AbortSignal } = {}): Promise<PeerId> {
    signal?.throwIfAborted();
    if (this.#context !== undefined || this.#isStopped) throw new TypeError("a transport starts once");
    this.#context = context;
    const { host = "127.0.0.1", port = 0 } = this.#options;
    this.#id = await identity(context);
    this.#server.listen(port, host);
    try {
      await once(this.#server, "listening");
    } catch (error) {
      throw new ReplicationError("BAD_ADDRESS", `cannot listen on ${host}:${port}`, { cause: error });
    }
    this.#server.on("error", (error) => context.events.notice("LISTEN_FAILED", String(error)));
    const bound = this.#server.address();
    if (typeof bound === "object" && bound !== null) this.#addresses = [`tcp:${host}:${bound.port}`];
    this.#timer = setInterval(() => {
      for (const connection of this.#connections) connection.beat();
    }, ALIVE_MS);
    return this.#id;
  }

  addresses(): readonly string[] {
    return this.#addresses;
  }

  send(link: Link, frame: Uint8Array): boolean {
    if (frame.length > FRAME_BYTES_MAX) throw new ReplicationError("FRAME_TOO_LARGE", `${frame.length} bytes`);
    return this.#carrier(link)?.send(frame) ?? true;
  }

  pause(link: Link): void {
    this.#carrier(link)?.pause();
  }

  resume(link: Link): void {
    this.#carrier(link)?.resume();
  }

  #carrier(link: Link): Connection | undefined {
    const connection = this.#links.get(link.peer);
    return connection?.link === link ? connection : undefined;
  }

  async connect(address: string, { signal }: { signal?: AbortSignal } = {}): Promise<Link> {
    signal?.throwIfAborted();
    if (!ADDRESS.test(address)) throw new ReplicationError("BAD_ADDRESS", `${address} is not like tcp:host:port`);
    if (this.#addresses.length === 0) throw new ReplicationError("CLOSED", "the transport is not running");
    const dial = this.#dialTo(address);
    dial.isHint = false;
    const link = this.#linkOf(dial);
    if (link !== undefined) return link;
    let onAbort: (() => void) | undefined;
    const linked = new Promise<Link>((resolve, reject) => {
      const waiter = { resolve, reject };
      dial.waiters.add(waiter);
      onAbort = () => {
        dial.waiters.delete(waiter);
        if (!dial.isKept && dial.waiters.size === 0) this.#forget(dial);
        reject(signal?.reason);
      };
    });
    if (onAbort !== undefined) signal?.addEventListener("abort", onAbort);
    this.#attempt(dial);
    try {
      return await linked;
    } finally {
      if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
    }
  }

  discovered(addresses: readonly string[], _source: DiscoverySource): void {
    for (const address of addresses) {
      if (!ADDRESS.test(address) || this.#addresses.includes(address) || this.#dials.has(address)) continue;
      const dial = this.#dialTo(address);
      dial.isHint = dial.isKept = true;
      this.#attempt(dial);
    }
  }

  async disconnect(peer: PeerId): Promise<void> {
    for (const dial of this.#dials.values()) if (dial.peer === peer) this.#forget(dial);
    const connection = this.#links.get(peer);
    if (connection !== undefined) this.#down(connection, "closed");
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#addresses = [];
    clearInterval(this.#timer);
    for (const dial of this.#dials.values()) this.#forget(dial, new ReplicationError("CLOSED", "it has stopped"));
    for (const connection of this.#links.values()) this.#down(connection, "stopped");
    for (const connection of this.#connections) connection.end();
    if (this.#server.listening) this.#server.close();
  }

  // Dialling

  #dialTo(address: string): Dial {
    const known = this.#dials.get(address);
    if (known !== undefined) return known;
    const nobody = { peer: undefined, connection: undefined, timer: undefined };
    const dial: Dial = { address, waiters: new Set(), ...nobody, isKept: false, isHint: false, failures: 0 };
    this.#dials.set(address, dial);
    return dial;
  }

  #linkOf({ peer }: Dial): Link | undefined {
    return peer === undefined ? undefined : this.#links.get(peer)?.link;
  }

  #attempt(dial: Dial): void {
    const [, host = "", port] = ADDRESS.exec(dial.address) ?? [];
    if (dial.connection !== undefined || this.#dials.get(dial.address) !== dial) return;
    if (this.#linkOf(dial) !== undefined) return;
    clearTimeout(dial.timer);
    dial.connection = this.#open(createConnection({ host, port: Number(port) }), dial);
    dial.connection.say(this.#hello(false));
  }

  #failed(dial: Dial, code: "DIAL_FAILED" | "NOT_ADMITTED", message: string): void {
    if (this.#dials.get(dial.address) !== dial) return;
    if (dial.failures === 0 && !dial.isHint) this.#context?.events.notice(code, message, dial.peer);
    reject(dial, new ReplicationError(code, message));
    const isGivenUp = dial.isHint ? dial.failures >= HINT_FAILURES_MAX : !dial.isKept;
    if (isGivenUp) this.#forget(dial);
    else this.#later(dial);
  }

  #later(dial: Dial): void {
    if (this.#dials.get(dial.address) !== dial) return;
    const pauseMs = Math.min(REDIAL_MS_MAX, REDIAL_MS * 2 ** dial.failures++);
    clearTimeout(dial.timer);
    dial.timer = setTimeout(() => this.#attempt(dial), pauseMs * (0.5 + Math.random() / 2));
  }

  #forget(
    dial: Dial,
    error: Error = new ReplicationError("DIAL_FAILED", `${dial.address} is not wanted any more`),
  ): void {
    this.#dials.delete(dial.address);
    clearTimeout(dial.timer);
    if (dial.connection?.link === undefined) dial.connection?.reset();
    reject(dial, error);
  }

  // Shaking hands: the dialler's hello, the acceptor's, and one more frame of the dialler's, which says that it is the link.

  #accept(socket: Socket): void {
    if (this.#isStopped) socket.destroy();
    else this.#open(socket, undefined);
  }

  #open(socket: Socket, dial: Dial | undefined): Connection {
    const connection = new Connection(socket, {
      frame: (bytes) => {
        const { link, hello } = connection;
        if (link !== undefined) this.#context?.events.frame(link, bytes);
        else if (hello !== undefined) this.#up(connection, hello);
        else this.#heard(connection, dial, bytes);
      },
      delivered: () => this.#context?.events.delivered?.(),
      drained: () => {
        if (connection.link !== undefined) this.#context?.events.drained(connection.link);
      },
      ended: (reason) => this.#ended(connection, dial, reason),
    });
    this.#connections.add(connection);
    return connection;
  }

  #hello(isLinked: boolean): Hello {
    return { peer: this.#id, incarnation: this.#context?.incarnation ?? "", addresses: this.#addresses, isLinked };
  }

  #heard(connection: Connection, dial: Dial | undefined, bytes: Uint8Array): void {
    const hello = readHello(bytes);
    if (dial === undefined) this.#asked(connection, hello);
    else this.#answered(connection, dial, hello);
  }

  #asked(connection: Connection, hello: Hello | undefined): void {
    if (hello === undefined) return connection.reset();
    const { peer } = hello;
    if (!this.#admits(peer)) {
      this.#context?.events.notice("NOT_ADMITTED", `refused ${peer}: add it to \`allow\``, peer);
      connection.say({});
      return connection.end();
    }
    connection.hello = hello;
    this.#offers.set(peer, connection);
    connection.say(this.#hello(this.#isLinked(hello)));
  }

  #answered(connection: Connection, dial: Dial, hello: Hello | undefined): void {
    const { address } = dial;
    if (hello === undefined || (dial.isHint && !this.#admits(hello.peer))) {
      this.#letGo(connection, dial);
      return this.#failed(dial, "NOT_ADMITTED", `the node at ${address} and this one do not admit each other`);
    }
    const { peer, isLinked } = hello;
    if (peer === this.#id) return connection.reset();
    dial.peer = peer;
    // Where both dial at once, the one that the greater id dialled remains, unless the other has become a link.
    const isSpare = this.#offers.has(peer) && (isLinked || this.#id < peer);
    if (!isSpare && !this.#isLinked(hello)) {
      connection.say({});
      return this.#up(connection, hello);
    }
    this.#letGo(connection, dial);
    if (this.#linkOf(dial) === undefined) this.#later(dial);
    else this.#settle(peer);
  }

  #letGo(connection: Connection, dial: Dial): void {
    dial.connection = undefined;
    connection.end();
  }

  #admits(peer: PeerId): boolean {
    const { allow } = this.#options;
    const isDialled = (): boolean => [...this.#dials.values()].some((dial) => dial.peer === peer && !dial.isHint);
    return allow === "any" || allow.includes(peer) || isDialled();
  }

  #isLinked({ peer, incarnation }: Hello): boolean {
    return this.#links.get(peer)?.link?.incarnation === incarnation;
  }

  // Links

  #up(connection: Connection, { peer, incarnation, addresses }: Hello): void {
    const former = this.#links.get(peer);
    if (former !== undefined) this.#down(former, "superseded");
    if (this.#offers.get(peer) === connection) this.#offers.delete(peer);
    const link: Link = { peer, incarnation, addresses };
    connection.link = link;
    this.#links.set(peer, connection);
    this.#context?.events.linkUp(link);
    this.#settle(peer);
  }

  /** Tells who waits for a peer that it is linked, and keeps dialling it from now on. */
  #settle(peer: PeerId): void {
    const link = this.#links.get(peer)?.link;
    for (const dial of this.#dials.values()) {
      if (dial.peer !== peer || link === undefined) continue;
      dial.isKept = true;
      dial.isHint = false;
      dial.failures = 0;
      for (const waiter of dial.waiters) waiter.resolve(link);
      dial.waiters.clear();
    }
  }

  #down(connection: Connection, reason: LinkEnd): void {
    const { link } = connection;
    if (link === undefined) return;
    connection.link = undefined;
    if (this.#links.get(link.peer) === connection) this.#links.delete(link.peer);
    connection.end();
    this.#context?.events.linkDown(link, reason);
    for (const dial of this.#dials.values()) {
      if (dial.connection === connection) dial.connection = undefined;
      if (dial.peer === link.peer) this.#later(dial);
    }
  }

  #ended(connection: Connection, dial: Dial | undefined, reason: LinkEnd): void {
    this.#connections.delete(connection);
    for (const [peer, offer] of this.#offers) if (offer === connection) this.#offers.delete(peer);
    if (connection.link !== undefined) return this.#down(connection, reason);
    if (dial?.connection !== connection) return;
    dial.connection = undefined;
    this.#failed(dial, "DIAL_FAILED", `nobody answers at ${dial.address}`);
  }
}

function reject({ waiters }: Dial, error: Error): void {
  for (const waiter of waiters) waiter.reject(error);
  waiters.clear();
}

/** This node's id: made at its first start, and kept with its data. */
async function identity(context: TransportContext): Promise<PeerId> {
  const kept = await context.readSecret("tcp-id");
  if (kept !== undefined) return new TextDecoder().decode(kept);
  const id = crypto.randomUUID();
  await context.writeSecret("tcp-id", new TextEncoder().encode(id));
  return id;
}
