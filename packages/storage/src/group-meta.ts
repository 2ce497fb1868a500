/**
 * What catalogue rows and snapshot records tell of a group, encoded alike:
 *
 * | field    | bytes                                        |
 * |----------|----------------------------------------------|
 * | type     | string                                       |
 * | epoch    | uint                                         |
 * | vector   | a version vector                             |
 * | frontier | uint count, then that many actors            |
 * | time     | uint, the highest hybrid timestamp           |
 * | digest   | 2 × 4, little-endian                         |
 */
import { ACTOR_BYTES, type Reader, VersionVector, Writer } from "@coppice/crdt";
import type { GroupMeta } from "./group-storage.ts";

/** {@link GroupMeta} without the id: that is in the key. */
export type Meta = Omit<GroupMeta, "id">;

/** Mirrors the limit of `CrdtType.name`, with room. */
const TYPE_CHARS_MAX = 256;

const scratch = new Writer(256);

/** Throws `TypeError` for what cannot be stored. */
export function encodeMeta(meta: Meta): Uint8Array {
  if (meta.type.length > TYPE_CHARS_MAX) throw new TypeError(`a type's name has at most ${TYPE_CHARS_MAX} characters`);
  scratch.reset();
  scratch.string(meta.type);
  scratch.uint(meta.epoch);
  meta.vector.encode(scratch);
  scratch.uint(meta.frontier.length);
  for (const actor of meta.frontier) scratch.actor(actor);
  scratch.uint(meta.time);
  for (const lane of meta.digest) for (let shift = 0; shift < 32; shift += 8) scratch.byte((lane >>> shift) & 255);
  return scratch.take();
}

export function readMeta(reader: Reader): Meta {
  const type = reader.string();
  const epoch = reader.uint();
  const vector = VersionVector.decode(reader);
  const frontier = Array.from({ length: reader.count(ACTOR_BYTES) }, () => reader.actor());
  const time = reader.uint();
  return { type, epoch, vector, frontier, time, digest: [readLane(reader), readLane(reader)] };
}

function readLane(reader: Reader): number {
  const low = reader.byte() | (reader.byte() << 8) | (reader.byte() << 16);
  return (low | (reader.byte() << 24)) >>> 0;
}
