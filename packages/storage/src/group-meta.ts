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
import {
  ACTOR_BYTES,
  type Actor,
  actorFromBytes,
  malformed,
  type Reader,
  SEQ_MAX,
  VersionVector,
  Writer,
} from "@coppice/crdt";
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

/** Throws `MALFORMED` as {@link VersionVector.decode} does. */
export function readMeta(reader: Reader): Meta {
  const type = reader.string();
  const epoch = reader.uint();
  const vector = readVector(reader);
  const frontier: Actor[] = [];
  for (let left = reader.count(ACTOR_BYTES); left > 0; left--) frontier.push(readActor(reader));
  return { type, epoch, vector, frontier, time: reader.uint(), digest: [readLane(reader), readLane(reader)] };
}

/** What {@link VersionVector.decode} reads, by actors that are known already. */
function readVector(reader: Reader): VersionVector {
  const vector = new VersionVector();
  let last = "";
  for (let left = reader.count(ACTOR_BYTES + 1); left > 0; left--) {
    const actor = readActor(reader);
    const seq = reader.uintMax(SEQ_MAX, "a sequence number");
    if (actor <= last || seq === 0) throw malformed("the entries of a version vector are out of order");
    last = actor;
    vector.set(actor, seq);
  }
  return vector;
}

/**
 * Few actors write most groups, and making an actor's text from its bytes is what costs most in reading a row: so the
 * last one of each slot is kept.
 */
const SLOTS = 256;
const known: { readonly bytes: Uint8Array; readonly actor: Actor }[] = [];

function readActor(reader: Reader): Actor {
  const bytes = reader.raw(ACTOR_BYTES);
  const slot = ((bytes[0] as number) + 31 * (bytes[8] as number) + 7 * (bytes[15] as number)) % SLOTS;
  const entry = known[slot];
  if (entry !== undefined && isEqual(entry.bytes, bytes)) return entry.actor;
  const actor = actorFromBytes(bytes);
  known[slot] = { bytes: bytes.slice(), actor };
  return actor;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = 0; index < ACTOR_BYTES; index++) if (a[index] !== b[index]) return false;
  return true;
}

function readLane(reader: Reader): number {
  const low = reader.byte() | (reader.byte() << 8) | (reader.byte() << 16);
  return (low | (reader.byte() << 24)) >>> 0;
}
