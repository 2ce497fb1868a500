/**
 * A state of an epoch that another has superseded, kept because it held writes that were nowhere else: its value under
 * `o` + group key + uint(epoch).
 *
 * | field   | bytes                         |
 * |---------|-------------------------------|
 * | magic   | 4: `CGSU`                     |
 * | version | 1: 1                          |
 * | type    | string                        |
 * | vector  | see `VersionVector`           |
 * | time    | uint: highest hybrid time     |
 * | kept at | uint: Unix ms                 |
 * | body    | bytes: the complete state     |
 * | seal    | 4: CRC-32, see sealed.ts      |
 */
import { Reader, VersionVector, Writer } from "@coppice/crdt";
import { StorageError } from "./error.ts";
import { decodeGroupKey, decodeUint, encodeGroupId, encodeUint } from "./group-id.ts";
import type { GroupSnapshot, SupersededState } from "./group-storage.ts";
import { checkSeal, decodeSealed, seal } from "./sealed.ts";
import { SUPERSEDED_SPACE } from "./store-keys.ts";

const MAGIC = [0x43, 0x47, 0x53, 0x55] as const;
const VERSION = 1;

export function supersededKey(group: string, epoch: number): string {
  return SUPERSEDED_SPACE + group + encodeUint(epoch);
}

export function encodeSuperseded(state: GroupSnapshot, keptAt: number): { key: string; value: Uint8Array } {
  const key = supersededKey(encodeGroupId(state.id), state.epoch);
  const writer = new Writer(state.body.length + 256);
  for (const byte of MAGIC) writer.byte(byte);
  writer.byte(VERSION);
  writer.string(state.type);
  state.vector.encode(writer);
  writer.uint(state.time);
  writer.uint(keptAt);
  writer.bytes(state.body);
  return { key, value: seal(writer, key) };
}

/** Throws `CORRUPT`, or `UNSUPPORTED_FORMAT` for a record of a newer version. */
export function decodeSuperseded(bytes: Uint8Array, key: string): SupersededState {
  const end = checkSeal(bytes, key);
  if (end < 5 || MAGIC.some((byte, index) => bytes[index] !== byte)) {
    throw new StorageError("CORRUPT", "no superseded state");
  }
  if (bytes[4] !== VERSION) {
    throw new StorageError(
      "UNSUPPORTED_FORMAT",
      `a superseded state of format ${bytes[4]}, written by a newer version`,
    );
  }
  return decodeSealed(() => {
    // Numbers have no "!", group keys end with one.
    const group = key.slice(SUPERSEDED_SPACE.length, key.lastIndexOf("!") + 1);
    const epoch = decodeUint(key, SUPERSEDED_SPACE.length + group.length).value;
    const reader = new Reader(bytes, 5, end);
    const [type, vector] = [reader.string(), VersionVector.decode(reader)];
    const [time, keptAt] = [reader.uint(), reader.uint()];
    return { id: decodeGroupKey(group), type, epoch, vector, time, keptAt, body: reader.bytes() };
  });
}
