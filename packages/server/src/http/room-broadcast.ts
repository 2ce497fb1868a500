import { BROADCAST_BYTES_MAX, type Replica, ReplicationError } from "@coppice/replication";

/**
 * Tells the rooms of a document on other nodes something that nobody stores. What is larger than a broadcast may be
 * stays on this node, as everything does once the document is closed or was deleted.
 */
export function tellOtherRooms(replica: Pick<Replica<unknown, unknown>, "broadcast">, message: Uint8Array): void {
  if (message.length > BROADCAST_BYTES_MAX) return;
  try {
    replica.broadcast(message);
  } catch (error) {
    if (!(error instanceof ReplicationError)) throw error;
  }
}
