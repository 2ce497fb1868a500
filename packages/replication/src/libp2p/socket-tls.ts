import {
  type ConnectionEncrypter,
  type MessageStream,
  type SecureConnectionOptions,
  type SecuredConnection,
  type StreamMessageEvent,
  serviceCapabilities,
} from "@libp2p/interface";
import { type TLSComponents, tls } from "@libp2p/tls";
import { generateCertificate, toMessageStream, verifyPeerCertificate } from "@libp2p/tls/utils";
import { Socket } from "node:net";
import { TLSSocket, connect } from "node:tls";

/** What TLS encrypts at once; more is cut anyway. */
const RECORD_BYTES_MAX = 16 * 1024;
/** The multiplexer that stands for: not chosen in the handshake, but afterwards. */
const NO_MUXER = "libp2p";

/**
 * The TLS of libp2p (https://github.com/libp2p/specs/blob/master/tls/tls.md) on the TCP socket itself. That of
 * `@libp2p/tls` hands each record through two streams in JavaScript, which takes twice the time, and makes a certificate
 * for each connection. It still does what does not come from a TCP socket: WebSockets, and networks with a key.
 *
 * A muxed frame of ordinary size leaves in one record: by itself the muxer writes header and body one by one, two
 * packets that cost both sides a system call and a turn more.
 */
export function socketTls(): (components: TLSComponents) => ConnectionEncrypter {
  const create = tls();
  return (components) => new SocketTls(components, create(components));
}

/** What a connection of `@libp2p/tcp` has beside its interface. */
interface TcpConnection extends MessageStream {
  readonly socket?: unknown;
  readonly readStatus?: unknown;
  /** Ends the socket at once, when the connection is aborted. */
  sendReset?(): void;
}

type Certificate = Awaited<ReturnType<typeof generateCertificate>>;

class SocketTls implements ConnectionEncrypter {
  readonly protocol: string;
  readonly [serviceCapabilities]: string[] = ["@libp2p/connection-encryption"];
  readonly #components: TLSComponents;
  /** For connections without a socket of their own. */
  readonly #other: ConnectionEncrypter;
  /** One for all connections, made while the node starts. */
  readonly #certificate: Promise<Certificate>;

  constructor(components: TLSComponents, other: ConnectionEncrypter) {
    this.protocol = other.protocol;
    this.#components = components;
    this.#other = other;
    this.#certificate = generateCertificate(components.privateKey);
    // Told to whoever needs it.
    this.#certificate.catch(() => {});
  }

  get [Symbol.toStringTag](): string {
    return "@coppice/socket-tls";
  }

  async secureInbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    const settings = await this.#settings(options);
    const socket = await takeSocket(connection);
    if (socket === undefined) return inOneRecord(await this.#other.secureInbound(connection, options));
    return this.#secure(connection, new TLSSocket(socket, { ...settings, isServer: true, requestCert: true }), options);
  }

  async secureOutbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    const settings = await this.#settings(options);
    const socket = await takeSocket(connection);
    if (socket === undefined) return inOneRecord(await this.#other.secureOutbound(connection, options));
    return this.#secure(connection, connect({ socket, ...settings }), options);
  }

  async #settings(options: SecureConnectionOptions | undefined) {
    const muxers =
      options?.skipStreamMuxerNegotiation === true ? [] : this.#components.upgrader.getStreamMuxers().keys();
    return {
      ...(await this.#certificate),
      minVersion: "TLSv1.3",
      maxVersion: "TLSv1.3",
      // Certificates are self-signed, and say by an extension whose they are.
      rejectUnauthorized: false,
      ALPNProtocols: [...muxers, NO_MUXER],
    } as const;
  }

  async #secure(
    connection: MessageStream,
    socket: TLSSocket,
    options: SecureConnectionOptions | undefined,
  ): Promise<SecuredConnection> {
    // TLS has the handle now: the process would not survive that the socket is reset beside it.
    (connection as TcpConnection).sendReset = () => void socket.destroy();
    const fail = (error: Error): void => {
      socket.destroy();
      connection.abort(error);
    };
    socket.on("error", fail);
    try {
      await handshake(socket, options?.signal);
      const { raw } = socket.getPeerCertificate();
      const remotePeer = await verifyPeerCertificate(raw, options?.remotePeer, connection.log);
      const chosen = socket.alpnProtocol;
      const muxers = this.#components.upgrader.getStreamMuxers();
      const streamMuxer = typeof chosen === "string" && chosen !== NO_MUXER ? muxers.get(chosen) : undefined;
      const secured = toMessageStream(connection, socket);
      return inOneRecord({ remotePeer, connection: secured, ...(streamMuxer !== undefined && { streamMuxer }) });
    } catch (error) {
      fail(error as Error);
      throw error;
    }
  }
}

/**
 * The TCP socket of a connection, to be read by whoever asks for it from now on; what was read already is put back.
 * Undefined when the connection has none, or something stands in between.
 */
async function takeSocket(connection: MessageStream): Promise<Socket | undefined> {
  const { socket, readStatus } = connection as TcpConnection;
  if (!(socket instanceof Socket) || socket.destroyed || readStatus !== "readable") return undefined;
  socket.pause();
  socket.removeAllListeners("data");
  const read: Uint8Array[] = [];
  const take = ({ data }: StreamMessageEvent): void => void read.push(data.subarray());
  // A connection tells a new listener in a microtask what it holds.
  connection.addEventListener("message", take);
  await Promise.resolve();
  connection.removeEventListener("message", take);
  if (read.length > 0) socket.unshift(Buffer.concat(read));
  return socket;
}

/** Resolves once both sides have the keys. */
function handshake(socket: TLSSocket, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  return new Promise<void>((resolve, reject) => {
    const abort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener("abort", abort);
    const end = (): void => signal?.removeEventListener("abort", abort);
    socket.once("secure", () => [end(), resolve()]);
    socket.once("error", (error) => [end(), reject(error)]);
    socket.once("close", () => [end(), reject(new Error("the connection was closed during the TLS handshake"))]);
  });
}

function inOneRecord(secured: SecuredConnection): SecuredConnection {
  const { connection } = secured;
  const send = connection.send.bind(connection);
  connection.send = (data) =>
    send(data instanceof Uint8Array || data.byteLength > RECORD_BYTES_MAX ? data : data.subarray());
  return secured;
}
