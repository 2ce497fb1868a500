import "./globals.ts";
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from "@libp2p/crypto/keys";
import type { Connection, ConnectionGater, PrivateKey } from "@libp2p/interface";
import { yamux } from "@libp2p/yamux";
import type { Multiaddr } from "@multiformats/multiaddr";
import { createLibp2p, type Libp2p } from "libp2p";
import { encrypters, transports } from "#platform";
import { ReplicationError } from "../error.ts";
import type { TransportContext } from "../transport.ts";
import { protectorOf } from "./network-key.ts";

export interface NodeOptions {
  readonly privateKey: PrivateKey;
  readonly listen: readonly Multiaddr[];
  readonly announce: readonly Multiaddr[];
  readonly connectionsMax: number;
  readonly inboundConnectionsPerSecond: number;
  readonly connectionGater: ConnectionGater;
  /** Only nodes with the same key can talk to each other. */
  readonly networkKey?: Uint8Array | undefined;
}

/** A libp2p node with every limit set, not started; the defaults of libp2p allow gigabytes a connection. */
export async function createNode(options: NodeOptions): Promise<Libp2p> {
  const { privateKey, listen, announce, connectionsMax, inboundConnectionsPerSecond, connectionGater } = options;
  const { networkKey } = options;
  return createLibp2p({
    start: false,
    privateKey,
    addresses: { listen: listen.map(String), announce: announce.map(String) },
    transports,
    connectionEncrypters: encrypters,
    streamMuxers: [
      yamux({
        maxInboundStreams: 32,
        maxOutboundStreams: 32,
        streamOptions: {
          maxStreamWindowSize: 1024 * 1024,
          maxReadBufferLength: 2 * 1024 * 1024,
          maxWriteBufferLength: 4 * 1024 * 1024,
        },
      }),
    ],
    connectionManager: {
      maxConnections: connectionsMax,
      maxIncomingPendingConnections: 64,
      inboundConnectionThreshold: inboundConnectionsPerSecond,
      inboundUpgradeTimeout: 10_000,
      dialTimeout: 10_000,
      maxParallelDials: 16,
      reconnectRetries: 0,
    },
    connectionGater,
    ...(networkKey === undefined ? {} : { connectionProtector: await protectorOf(networkKey) }),
    // The links have a heartbeat of their own, without a stream for each beat.
    connectionMonitor: { enabled: false },
  });
}

/**
 * Dials with a connection of its own for each call: libp2p might else answer one that is about to end. libp2p still
 * joins dials of the same address, so that one joined to an abandoned dial is aborted with it and must try again.
 */
export async function dialAlone(node: Libp2p, address: Multiaddr, signal: AbortSignal): Promise<Connection> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await node.dial(address, { signal, force: true });
    } catch (error) {
      const wasJoined = error instanceof Error && error.name === "AbortError" && !signal.aborted;
      if (!wasJoined || attempt === 5) throw error;
      await new Promise((resolve) => setTimeout(resolve, attempt));
    }
  }
}

/** The node's private key, made on the first start. Fails with `STORAGE_FAILED` if the stored one is unreadable. */
export async function loadIdentity(context: TransportContext): Promise<PrivateKey> {
  const stored = await context.readSecret("identity");
  if (stored === undefined) {
    const fresh = await generateKeyPair("Ed25519");
    await context.writeSecret("identity", privateKeyToProtobuf(fresh));
    return fresh;
  }
  try {
    return privateKeyFromProtobuf(stored);
  } catch (cause) {
    const message = "the stored identity is unreadable: restore it from a backup, or remove it to become a new peer";
    throw new ReplicationError("STORAGE_FAILED", message, { cause });
  }
}
