/**
 * Where a group store keeps what, in the keys and logs of a backend. `G` is a group key (prefix-free, see group-id.ts),
 * `E` an epoch, `N` a generation, both as uint (see group-id.ts).
 *
 * | key                    | value                                                                               |
 * |------------------------|-------------------------------------------------------------------------------------|
 * | `c` G                  | catalogue row                                                                       |
 * | `b` G                  | copy of the row as long as no two snapshots could replace it                        |
 * | `s` G E N              | snapshot                                                                            |
 * | `x` G                  | epochs below the row's are still to be swept                                        |
 * | `q` G kind E rest `!` C | a damaged record as it was found: kind `c`, `s` or `j`; C tells contents apart      |
 * | `q` `n` key `!` C      | a damaged node record, or a damaged key                                             |
 * | `na`, `nb`             | node record                                                                         |
 *
 * Log G E: the journal of an epoch.
 */
import { crc32 } from "#platform";
import { StorageError } from "./error.ts";
import { decodeUint, encodeUint } from "./group-id.ts";

export const ROW_SPACE = "c";
export const COPY_SPACE = "b";
export const SNAPSHOT_SPACE = "s";
export const SWEEP_SPACE = "x";
export const QUARANTINE_SPACE = "q";
export const NODE_KEYS = ["na", "nb"] as const;

export function rowKey(group: string): string {
  return ROW_SPACE + group;
}

export function copyKey(group: string): string {
  return COPY_SPACE + group;
}

export function sweepKey(group: string): string {
  return SWEEP_SPACE + group;
}

export function snapshotKey(group: string, epoch: number, generation: number): string {
  return SNAPSHOT_SPACE + group + encodeUint(epoch) + encodeUint(generation);
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
  // Numbers have no "!", group keys end with one.
  const group = log.slice(0, log.lastIndexOf("!") + 1);
  const epoch = decodeUint(log, group.length);
  if (group !== "" && epoch.end === log.length) return { group, epoch: epoch.value };
  throw new StorageError("CORRUPT", `not the name of a journal: ${JSON.stringify(log)}`);
}
