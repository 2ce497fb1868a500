/**
 * Keys and logs in one ordered keyspace, for engines that have no more than that. A space sorts below every character
 * of a key and of a log's name:
 *
 * | key                          | what                                   |
 * |------------------------------|----------------------------------------|
 * | ` l` + log + ` ` + uint(seq) | a log entry                            |
 * | ` m`                         | the marker that a sync barrier writes  |
 * | ` x` + name                  | a secret, where there are no files     |
 * | key                          | a value                                |
 */
import type { LogRange } from "./backend.ts";
import { decodeUint, encodeUint } from "./group-id.ts";

export const LOG_SPACE = " l";
export const MARKER_KEY = " m";
export const MARKER_VALUE: Uint8Array = new Uint8Array([1]);
export const SECRET_SPACE = " x";

/** Below and above everything that begins with a character of a key. */
const START = "!";
const END = "\u007f";

/** What of a keyspace to read: from `from` (itself only when `inclusive`) to below `upto`. */
export interface KeyRange {
  readonly from: string;
  readonly inclusive: boolean;
  readonly upto: string;
}

export function logKey(log: string, seq: number): string {
  return `${LOG_SPACE}${log} ${encodeUint(seq)}`;
}

export function seqOf(key: string): number {
  return decodeUint(key, key.lastIndexOf(" ") + 1).value;
}

export function valueRange(prefix: string, after: string | undefined): KeyRange {
  const upto = prefix + END;
  if (after === undefined || after < prefix) return { from: prefix === "" ? START : prefix, inclusive: true, upto };
  return { from: after, inclusive: false, upto };
}

export function logRange(log: string, from: number): KeyRange {
  return { from: logKey(log, from), inclusive: true, upto: `${LOG_SPACE}${log}!` };
}

export function logsRange(prefix: string): KeyRange {
  return { from: LOG_SPACE + prefix, inclusive: true, upto: LOG_SPACE + prefix + END };
}

/** Turns pages of log keys into pages of logs. */
export async function* groupLogKeys(pages: AsyncIterable<readonly string[]>): AsyncGenerator<readonly LogRange[]> {
  let current: { log: string; first: number; last: number } | undefined;
  for await (const page of pages) {
    const ranges: LogRange[] = [];
    for (const key of page) {
      const log = key.slice(LOG_SPACE.length, key.lastIndexOf(" "));
      const seq = seqOf(key);
      if (current?.log === log) current.last = seq;
      else {
        if (current !== undefined) ranges.push(current);
        current = { log, first: seq, last: seq };
      }
    }
    yield ranges;
  }
  if (current !== undefined) yield [current];
}
