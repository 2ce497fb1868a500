/**
 * What a node keeps about itself: the same value under `na` and under `nb`, so that one may rot.
 *
 * | field   | bytes                          |
 * |---------|--------------------------------|
 * | version | 1: 1                           |
 * | node id | string                         |
 * | starts  | uint                           |
 * | clean   | 1: 0 or 1                      |
 * | peers   | uint count, then strings       |
 * | seal    | 4: CRC-32, see sealed.ts       |
 */
import { Reader, Writer } from "@coppice/crdt";
import { StorageError } from "./error.ts";
import type { NodeRecord } from "./group-storage.ts";
import { checkSeal, decodeSealed, seal } from "./sealed.ts";

const VERSION = 1;

export function encodeNode(record: NodeRecord, key: string): Uint8Array {
  const writer = new Writer(256);
  writer.byte(VERSION);
  writer.string(record.nodeId);
  writer.uint(record.starts);
  writer.byte(record.clean ? 1 : 0);
  writer.uint(record.peers.length);
  for (const peer of record.peers) writer.string(peer);
  return seal(writer, key);
}

/** Throws `CORRUPT`, or `UNSUPPORTED_FORMAT` for a whole record of a newer version. */
export function decodeNode(bytes: Uint8Array, key: string): NodeRecord {
  const end = checkSeal(bytes, key);
  if (bytes[0] !== VERSION) {
    throw new StorageError("UNSUPPORTED_FORMAT", `a node record of format ${bytes[0]}, written by a newer version`);
  }
  return decodeSealed(() => {
    const reader = new Reader(bytes, 1, end);
    const node = { nodeId: reader.string(), starts: reader.uint(), clean: reader.byte() === 1 };
    const peers = Array.from({ length: reader.count() }, () => reader.string());
    reader.done();
    return { ...node, peers };
  });
}
