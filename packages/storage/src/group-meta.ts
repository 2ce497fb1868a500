/**
 * What group records and exports tell of a group, beside its epoch. The facts:
 *
 * | field    | bytes                             |
 * |----------|-----------------------------------|
 * | type     | string                            |
 * | time     | uint, the highest hybrid timestamp |
 * | digest   | 2 × 4, little-endian              |
 *
 * And its history:
 *
 * | field    | bytes                             |
 * |----------|-----------------------------------|
 * | vector   | a version vector                  |
 * | frontier | uint count, then that many actors |
 */
import {
  ACTOR_BYTES,
  type Actor,
  actorFromBytes,
  malformed,
  type Reader,
  SEQ_MAX,
  VersionVector,
  type Writer,
} from "@coppice/crdt";
import type { GroupMeta } from "./group-storage.ts";

/** {@link GroupMeta} without the id, which is in the key, and the epoch. */
export type Meta = Facts & History;
export type Facts = Pick<GroupMeta, "type" | "time" | "digest">;
export type History = Pick<GroupMeta, "vector" | "frontier">;

/** Mirrors the limit of `CrdtType.name`, with room. */
const TYPE_CHARS_MAX = 256;

/** Throws `TypeError` for what cannot be stored. */
export function writeFacts(writer: Writer, { type, time, digest }: Facts): void {
  if (type.length > TYPE_CHARS_MAX) throw new TypeError(`a type's name has at most ${TYPE_CHARS_MAX} characters`);
  writer.string(type);
  writer.uint(time);
  writer.uint32(digest[0]);
  writer.uint32(digest[1]);
}

export function writeHistory(writer: Writer, { vector, frontier }: History): void {
  vector.encode(writer);
  writer.uint(frontier.length);
  for (const actor of frontier) writer.actor(actor);
}

/** Throws `MALFORMED` as {@link VersionVector.decode} does. */
export function readFacts(reader: Reader): Facts {
  return { type: readType(reader), time: reader.uint(), digest: [reader.uint32(), reader.uint32()] };
}

/** Throws `MALFORMED` as {@link VersionVector.decode} does. */
export function readHistory(reader: Reader): History {
  const vector = readVector(reader);
  const frontier: Actor[] = [];
  for (let left = reader.count(ACTOR_BYTES); left > 0; left--) frontier.push(readActor(reader));
  return { vector, frontier };
}

/** Many groups have few types: one string for each will do. */
const types = new Map<string, string>();
const TYPES_MAX = 1000;

function readType(reader: Reader): string {
  const type = reader.string();
  const known = types.get(type);
  if (known !== undefined) return known;
  if (types.size < TYPES_MAX) types.set(type, type);
  return type;
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
  // A copy of a Buffer by `slice` would keep all of the record in memory.
  known[slot] = { bytes: Uint8Array.from(bytes), actor };
  return actor;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = 0; index < ACTOR_BYTES; index++) if (a[index] !== b[index]) return false;
  return true;
}
