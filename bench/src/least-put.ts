import { crc32 } from "node:zlib";
import { Writer } from "@coppice/crdt";
import { encodeGroupId, type GroupSnapshot } from "@coppice/storage";
import type { ClassicLevel } from "classic-level";

const RECORD_BYTES = 512;

/**
 * Puts first snapshots as the group store does, with two checksummed values of like length for each group, and does
 * nothing else: no states, no operations, no checks. What this takes, no store of such values can go below.
 */
export async function putLeast(
  engine: ClassicLevel<string, Uint8Array>,
  snapshots: readonly GroupSnapshot[],
  size: number,
): Promise<void> {
  for (let at = 0; at < snapshots.length; at += size) {
    const batch = engine.batch();
    const writer = new Writer(RECORD_BYTES * size);
    for (const snapshot of snapshots.slice(at, at + size)) {
      const key = `c${encodeGroupId(snapshot.id)}`;
      const seed = crc32(key);
      batch.put(`${key}1`, record(writer, snapshot, snapshot.body, seed));
      batch.put(`${key}0`, record(writer, snapshot, undefined, seed));
    }
    await batch.write({ sync: at + size >= snapshots.length });
  }
}

function record(writer: Writer, snapshot: GroupSnapshot, body: Uint8Array | undefined, seed: number): Uint8Array {
  const start = writer.length;
  for (let word = 0; word < 5; word++) writer.uint32(snapshot.epoch);
  writer.string(snapshot.type);
  writer.uint(snapshot.time);
  for (const lane of snapshot.digest) writer.uint32(lane);
  if (body !== undefined) {
    writer.bytes(body);
    snapshot.vector.encode(writer);
    for (const actor of snapshot.frontier) writer.actor(actor);
  }
  writer.uint32(crc32(writer.peek(start), seed));
  return writer.peek(start);
}
