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
import type { LogEntry, LogRange } from "./backend.ts";
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

/** The entry of a log under a key of its range; none under a key that rot has made of one. */
export function logEntry(log: string, key: string, value: Uint8Array): readonly LogEntry[] {
  const seq = seqAt(key, LOG_SPACE.length + log.length + 1);
  return seq === undefined ? [] : [{ seq, value }];
}

/** The number that a key ends with; undefined when it does not end with one. */
function seqAt(key: string, at: number): number | undefined {
  try {
    const { value, end } = decodeUint(key, at);
    return end === key.length ? value : undefined;
  } catch {
    return undefined;
  }
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

/** Turns pages of log keys into pages of logs; what rot has made of a key is none. */
export async function* groupLogKeys(pages: AsyncIterable<readonly string[]>): AsyncGenerator<readonly LogRange[]> {
  let current: { log: string; first: number; last: number } | undefined;
  for await (const page of pages) {
    const ranges: LogRange[] = [];
    for (const key of page) {
      const end = key.indexOf(" ", LOG_SPACE.length);
      const log = key.slice(LOG_SPACE.length, end);
      const seq = seqAt(key, end + 1);
      if (end < 0 || seq === undefined) continue;
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
