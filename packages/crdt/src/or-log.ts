import { type HybridTime, unixMs } from "./clock.ts";
import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_ORLOG } from "./kernel/kinds.ts";
import { appendToLog } from "./kernel/log.ts";
import { reveal } from "./kernel/register.ts";
import type { LogEntry, LogStore, Store } from "./kernel/store.ts";
import type { Storable, Value } from "./value.ts";

/** An entry of a log, with the time of its event. */
export interface OrLogEntry<T> {
  readonly value: T;
  readonly time: HybridTime;
  /** `time` as a wall-clock time. */
  readonly unixMs: number;
}

/** Reads a log. Positions count from 0, and shift when a concurrent entry of an earlier time arrives. */
export interface OrLogView<T> {
  readonly length: number;
  /** The value at a position; from the end when negative. */
  at(position: number): T | undefined;
  /** Values from `start` up to, but not including, `end`: as `Array.prototype.slice`. */
  range(start?: number, end?: number): readonly T[];
  /** The last `count` values, the oldest first. */
  tail(count: number): readonly T[];
  /** Entries with their times, as `range`. */
  entries(start?: number, end?: number): readonly OrLogEntry<T>[];
}

/** Changes a log. */
export interface OrLogMutator<T> extends OrLogView<T> {
  /** Appends values. Throws `TypeError`, naming the path, for what is no {@link Value}; `LIMIT_EXCEEDED`. */
  append(...values: readonly T[]): void;
}

class OrLogCursor<T> implements OrLogMutator<T> {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  get length(): number {
    return this.#entries().length;
  }

  at(position: number): T | undefined {
    return reveal(this.#entries().at(position)?.value) as T | undefined;
  }

  range(start?: number, end?: number): readonly T[] {
    return this.#entries()
      .slice(start, end)
      .map((entry) => reveal(entry.value) as T);
  }

  tail(count: number): readonly T[] {
    if (!Number.isSafeInteger(count) || count < 0) throw new TypeError(`not a number of entries: ${String(count)}`);
    return count === 0 ? [] : this.range(-count);
  }

  entries(start?: number, end?: number): readonly OrLogEntry<T>[] {
    return this.#entries()
      .slice(start, end)
      .map(({ value, time }) => ({ value: reveal(value) as T, time, unixMs: unixMs(time) }));
  }

  append(...values: readonly T[]): void {
    for (const value of values) appendToLog(this.#cursor, value);
  }

  #entries(): readonly LogEntry[] {
    return (this.#cursor.find() as LogStore | undefined)?.entries ?? [];
  }
}

function readLog(store: Store | undefined): readonly unknown[] {
  return Object.freeze((store as LogStore | undefined)?.entries.map((entry) => reveal(entry.value)) ?? []);
}

const dynamic: NestableType<readonly unknown[], OrLogMutator<unknown>, OrLogView<unknown>> = kernelType(
  "orlog",
  { kind: KIND_ORLOG, bind: (cursor) => new OrLogCursor(cursor), read: readLog },
  ["append", "at", "range", "tail"],
);

/**
 * A log that is only appended to. Its order is total, and the same everywhere: by time, actor, sequence number and
 * place within the event. Two appends never collide, and an append always stands behind all that its writer had seen.
 */
export function orLog<T extends Value | Storable<T> = Value>(): NestableType<
  readonly T[],
  OrLogMutator<T>,
  OrLogView<T>
> {
  return dynamic as unknown as NestableType<readonly T[], OrLogMutator<T>, OrLogView<T>>;
}
