import type { PeerDiscovery, PeerInfo, Startable } from "@libp2p/interface";
import type { Libp2p } from "libp2p";

/** Apart from other libp2p programs, which would neither understand us nor be admitted. */
const SERVICE_TAG = "_coppice._udp.local";

export interface LocalDiscovery {
  stop(): Promise<void>;
}

/**
 * Finds nodes on the local network by multicast DNS (RFC 6762) and tells where they are, again and again while they are
 * there. Announces this node's private and loopback addresses likewise.
 */
export async function discoverLocally(
  node: Libp2p,
  intervalMs: number,
  found: (addresses: readonly string[]) => void,
): Promise<LocalDiscovery> {
  const { mdns } = await import("@libp2p/mdns");
  // Not a peer discovery of libp2p's own: that tells of each peer only once, however often it moves.
  const addressManager = { getAddresses: () => node.getMultiaddrs() };
  const components = { addressManager, logger: node.logger } as unknown as Parameters<ReturnType<typeof mdns>>[0];
  const service = mdns({ serviceTag: SERVICE_TAG, interval: intervalMs })(components) as PeerDiscovery & Startable;
  service.addEventListener("peer", ({ detail }: CustomEvent<PeerInfo>) => {
    found(detail.multiaddrs.map((address) => `${address.toString()}/p2p/${detail.id.toString()}`));
  });
  await service.start();
  return { stop: async () => service.stop() };
}
