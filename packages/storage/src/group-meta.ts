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
import { ACTOR_BYTES, type Actor, type Reader, VersionVector, type Writer } from "@coppice/crdt";
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
  const vector = VersionVector.decode(reader);
  const frontier: Actor[] = [];
  for (let left = reader.count(ACTOR_BYTES); left > 0; left--) frontier.push(reader.actor());
  return { vector, frontier };
}

interface KnownType {
  readonly type: string;
  readonly bytes: Uint8Array;
}

/** Many groups have few types, and mostly that of the one before: one string for each will do. */
const types = new Map<string, KnownType>();
const TYPES_MAX = 1000;
let last: KnownType = { type: "", bytes: new Uint8Array(1) };

function readType(reader: Reader): string {
  if (reader.skip(last.bytes)) return last.type;
  const start = reader.at;
  const type = reader.string();
  last = types.get(type) ?? { type, bytes: reader.copy(start) };
  if (types.size < TYPES_MAX) types.set(type, last);
  return last.type;
}
