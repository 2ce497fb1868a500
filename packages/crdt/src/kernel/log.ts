import type { Cursor } from "./cursor.ts";
import { LOG_APPEND } from "./delta.ts";
import { writeGiven } from "./register.ts";
import type { ActorTable, LogEntry, LogStore, MapStore } from "./store.ts";

/** Whether `a` stands before `b`: by time, actor, seq and index. */
function isBefore(actors: ActorTable, a: LogEntry, b: LogEntry): boolean {
  if (a.time !== b.time) return a.time < b.time;
  if (a.actor !== b.actor) return actors.name(a.actor) < actors.name(b.actor);
  return a.seq === b.seq ? a.index < b.index : a.seq < b.seq;
}

/** Orders entries as a log keeps them. */
export function sortEntries(actors: ActorTable, entries: LogEntry[]): LogEntry[] {
  return entries.sort((a, b) => (isBefore(actors, a, b) ? -1 : 1));
}

/** Puts an entry in its place: nearly always at or near the end. */
export function insertEntry(log: LogStore, actors: ActorTable, entry: LogEntry): void {
  const { entries } = log;
  let low = 0;
  let high = entries.length;
  const last = entries[high - 1];
  if (last === undefined || isBefore(actors, last, entry)) {
    entries.push(entry);
    return;
  }
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(actors, entries[middle] as LogEntry, entry)) low = middle + 1;
    else high = middle;
  }
  entries.splice(low, 0, entry);
}

/** The index of the next entry that the event `seq` of `actor` appends: its entries stand next to each other. */
export function nextIndex(log: LogStore, actors: ActorTable, actor: number, seq: number, time: number): number {
  const { entries } = log;
  const probe = { actor, seq, time, index: Number.MAX_SAFE_INTEGER, value: undefined };
  let at = entries.length;
  while (at > 0 && isBefore(actors, probe, entries[at - 1] as LogEntry)) at--;
  const last = entries[at - 1];
  return last !== undefined && last.actor === actor && last.seq === seq ? last.index + 1 : 0;
}

/** Appends a value to the log at `cursor`. */
export function appendToLog(cursor: Cursor, value: unknown): void {
  const transaction = cursor.begin();
  const { delta, seq, time } = transaction;
  const { state } = cursor;
  const actor = state.own(transaction);
  const start = delta.length;
  let stored;
  try {
    cursor.writePath(delta);
    delta.byte(LOG_APPEND);
    stored = writeGiven(delta, value);
  } catch (error) {
    delta.reset(start);
    throw error;
  }
  const log = cursor.ensure(transaction) as LogStore;
  const entry = { actor, seq, time, index: nextIndex(log, state.actors, actor, seq, time), value: stored };
  insertEntry(log, state.actors, entry);
  transaction.onRollback(() => {
    log.entries.splice(log.entries.lastIndexOf(entry), 1);
  });
  cursor.open.endOperation(delta, cursor.parent?.find() as MapStore | undefined);
  cursor.touch(transaction);
}
