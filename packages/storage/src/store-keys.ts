/**
 * Where a group store keeps what, in the keys and logs of a backend. `G` is a group key (prefix-free, see group-id.ts),
 * `E` an epoch as uint (see group-id.ts), `S` a slot: `0` or `1`.
 *
 * | key                    | value                                                                               |
 * |------------------------|-------------------------------------------------------------------------------------|
 * | `c` G S                | one of the group's two records (see group-record.ts)                                |
 * | `s` G E S              | the body of that record, when it lies apart                                         |
 * | `x` G                  | epochs below the group's are still to be swept                                      |
 * | `q` G kind E rest `!` C | a damaged record as it was found: kind `c`, `s` or `j`; C tells contents apart      |
 * | `q` `n` key `!` C      | a damaged node record, or a damaged key                                             |
 * | `o` G E                | a superseded state that was kept                                                    |
 * | `na`, `nb`             | node record                                                                         |
 * | `j`                    | no journal goes on behind its group's newest record (see journal-tails.ts)          |
 *
 * Log G E: the journal of an epoch.
 */
import { crc32 } from "#platform";
import { StorageError } from "./error.ts";
import { decodeGroupKey, decodeUint, encodeUint } from "./group-id.ts";

export const RECORD_SPACE = "c";
export const APART_SPACE = "s";
export const SWEEP_SPACE = "x";
export const QUARANTINE_SPACE = "q";
export const SUPERSEDED_SPACE = "o";
export const NODE_KEYS = ["na", "nb"] as const;
export const TAILS_KEY = "j";

/** Which of a group's two records. */
export type Slot = 0 | 1;

export const SLOTS: readonly Slot[] = [0, 1];

export function recordKey(group: string, slot: Slot): string {
  return RECORD_SPACE + group + (slot === 0 ? "0" : "1");
}

export function sweepKey(group: string): string {
  return SWEEP_SPACE + group;
}

export function apartKey(group: string, epoch: number, slot: Slot): string {
  return APART_SPACE + group + encodeUint(epoch) + slot;
}

/** The parts of an {@link apartKey}. Throws `CORRUPT`. */
export function parseApartKey(key: string): { group: string; epoch: number; slot: Slot } {
  const { group, epoch, rest } = parseEpoch(key.slice(APART_SPACE.length));
  const slot = SLOTS.find((number) => rest === String(number));
  if (slot !== undefined) return { group, epoch, slot };
  throw new StorageError("CORRUPT", `not the key of a body: ${JSON.stringify(key)}`);
}

export function journalLog(group: string, epoch: number): string {
  return group + encodeUint(epoch);
}

/** A key of its own for every content: a second damaged record in the same place does not replace the first. */
export function quarantineKey(
  group: string,
  kind: "c" | "s" | "j",
  epoch: number,
  rest: number,
  bytes: Uint8Array,
): string {
  const place = group + kind + encodeUint(epoch) + encodeUint(rest);
  return `${QUARANTINE_SPACE}${place}!${crc32(bytes).toString(16)}`;
}

export function quarantineOther(key: string, bytes: Uint8Array): string {
  return `${QUARANTINE_SPACE}n${key}!${crc32(bytes).toString(16)}`;
}

/** The group and the epoch of a journal, from the name of its log. Throws `CORRUPT`. */
export function parseJournalLog(log: string): { group: string; epoch: number } {
  const { group, epoch, rest } = parseEpoch(log);
  if (rest === "") return { group, epoch };
  throw new StorageError("CORRUPT", `not the name of a journal: ${JSON.stringify(log)}`);
}

/** Splits group key + uint(epoch) + rest. Throws `CORRUPT`. */
function parseEpoch(text: string): { group: string; epoch: number; rest: string } {
  // Numbers have no "!", group keys end with one.
  const group = text.slice(0, text.lastIndexOf("!") + 1);
  decodeGroupKey(group);
  const { value, end } = decodeUint(text, group.length);
  return { group, epoch: value, rest: text.slice(end) };
}
