import type { CoreContext } from "./context.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Broadcast, Presence } from "./messages.ts";
import type { Peer } from "./peer.ts";

/**
 * Queues what nobody stores for whom the gossip rule names (`gossip.ts`): what is said here for every interested
 * neighbour, what came from another for those that do not hear that one themselves. A queue without room leaves it out;
 * returns how many did.
 */
export function relay(
  core: CoreContext,
  domain: string,
  message: Presence | Broadcast,
  { heartbeatMs, from }: { readonly heartbeatMs: number; readonly from?: Peer | undefined },
): number {
  const since = core.now() - 2 * heartbeatMs;
  let encoded: Uint8Array | undefined;
  let dropped = 0;
  for (const peer of core.peers.values()) {
    if (peer === from || peer.id === message.origin || !peer.isInterestedIn(domain)) continue;
    if (from !== undefined && peer.hears(from.id, since)) continue;
    encoded ??= encodeMessage(message);
    if (!peer.postIfRoom(encoded)) dropped++;
  }
  return dropped;
}
