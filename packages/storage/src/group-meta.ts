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
import { ACTOR_BYTES, Reader, VersionVector, Writer } from "@coppice/crdt";
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

/**
 * Vector and frontier are decoded when first asked for: listings and recoveries mostly look at the rest.
 *
 * @param bytes what `reader` reads
 */
export function readMeta(bytes: Uint8Array, reader: Reader): Meta {
  const type = reader.string();
  const epoch = reader.uint();
  const actors = reader.raw(actorsLength(bytes, reader.at, reader.at + reader.left));
  const time = reader.uint();
  const digest = [readLane(reader), readLane(reader)] as const;
  let decoded: Pick<Meta, "vector" | "frontier"> | undefined;
  return {
    type,
    epoch,
    get vector() {
      return (decoded ??= decodeActors(actors)).vector;
    },
    get frontier() {
      return (decoded ??= decodeActors(actors)).frontier;
    },
    time,
    digest,
  };
}

/** Bytes of the vector and the frontier that begin at `start`. */
function actorsLength(bytes: Uint8Array, start: number, end: number): number {
  const counts = new Reader(bytes, start, end);
  let left = counts.count(ACTOR_BYTES + 1);
  let at = counts.at;
  for (; left > 0; left--) {
    at += ACTOR_BYTES;
    // A sequence number: every byte but its last one has the top bit set.
    while ((bytes[at] ?? 0) > 127) at++;
    at++;
  }
  const frontier = new Reader(bytes, Math.min(at, end), end);
  const count = frontier.count(ACTOR_BYTES);
  return frontier.at + count * ACTOR_BYTES - start;
}

function decodeActors(bytes: Uint8Array): Pick<Meta, "vector" | "frontier"> {
  const reader = new Reader(bytes);
  const vector = VersionVector.decode(reader);
  return { vector, frontier: Array.from({ length: reader.count(ACTOR_BYTES) }, () => reader.actor()) };
}

function readLane(reader: Reader): number {
  const low = reader.byte() | (reader.byte() << 8) | (reader.byte() << 16);
  return (low | (reader.byte() << 24)) >>> 0;
}
