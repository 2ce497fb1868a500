// Brings the globals that libp2p needs and Node.js 20 lacks.
import "@coppice/replication/libp2p";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The little of libp2p that the comparison needs; its packages belong to `@coppice/replication`. */
export interface RawStream {
  send(bytes: Uint8Array): boolean;
  addEventListener(type: "message", listener: (event: { data: Uint8Array | Iterable<Uint8Array> }) => void): void;
  addEventListener(type: "drain", listener: () => void, options: { once: true }): void;
}

interface Libp2pNode {
  handle(protocol: string, handler: (stream: RawStream) => void): Promise<void>;
  dialProtocol(address: unknown, protocol: string): Promise<RawStream>;
  getMultiaddrs(): { toString(): string }[];
  stop(): Promise<void>;
}

export interface RawNode {
  readonly address: string;
  dial(address: string): Promise<RawStream>;
  stop(): Promise<void>;
}

const PROTOCOL = "/bench/raw/1";

type Factory = (argument?: unknown) => unknown;

const from = createRequire(fileURLToPath(import.meta.resolve("@coppice/replication/libp2p")));

async function load(name: string, member: string): Promise<Factory> {
  const loaded = (await import(pathToFileURL(from.resolve(name)).href)) as Record<string, Factory>;
  const factory = loaded[member];
  if (factory === undefined) throw new TypeError(`${name} has no ${member}`);
  return factory;
}

/** A libp2p node with the same transport, encryption and multiplexer as ours, and nothing on top. */
export async function createRawNode(handler?: (stream: RawStream) => void): Promise<RawNode> {
  const node = (await (
    await load("libp2p", "createLibp2p")
  )({
    addresses: { listen: handler === undefined ? [] : ["/ip4/127.0.0.1/tcp/0"] },
    transports: [(await load("@libp2p/tcp", "tcp"))()],
    connectionEncrypters: [(await load("@libp2p/tls", "tls"))()],
    streamMuxers: [(await load("@libp2p/yamux", "yamux"))()],
  })) as Libp2pNode;
  if (handler !== undefined) await node.handle(PROTOCOL, handler);
  const multiaddr = await load("@multiformats/multiaddr", "multiaddr");
  return {
    address: String(node.getMultiaddrs()[0] ?? ""),
    dial: (address) => node.dialProtocol(multiaddr(address), PROTOCOL),
    stop: () => node.stop(),
  };
}

/** Calls `take` with what arrives on a stream. */
export function onBytes(stream: RawStream, take: (bytes: Uint8Array) => void): void {
  stream.addEventListener("message", ({ data }) => {
    if (data instanceof Uint8Array) take(data);
    else for (const chunk of data) take(chunk);
  });
}
