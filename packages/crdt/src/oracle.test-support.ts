import type { TestEvent } from "./testing/index.ts";

/** What an operation did, at a path of keys. */
export interface Note {
  readonly op: "set" | "add" | "remove";
  /** Keys from the root down; a removal takes everything under it. */
  readonly path: readonly string[];
  readonly value?: unknown;
}

interface Written extends Note {
  readonly event: TestEvent;
  readonly index: number;
}

function isNote(note: unknown): note is Note {
  return typeof note === "object" && note !== null && "op" in note;
}

/** Every write that no removal, and no later write to the same register, has observed. */
export function aliveNotes(events: readonly TestEvent[]): Written[] {
  const all: Written[] = events.flatMap((event) =>
    event.notes.filter(isNote).map((note, index) => ({ ...note, event, index })),
  );
  return all.filter((note) => note.op !== "remove" && !all.some((later) => cancels(later, note)));
}

function cancels(later: Written, earlier: Written): boolean {
  if (!observed(later, earlier) || !later.path.every((key, level) => earlier.path[level] === key)) return false;
  if (later.op === "remove") return true;
  return later.op === "set" && earlier.op === "set" && later.path.length === earlier.path.length;
}

function observed(later: Written, earlier: Written): boolean {
  if (later.event === earlier.event) return later.index > earlier.index;
  return later.event.deps.covers(earlier.event.actor, earlier.event.seq);
}

/** The registers among the notes: the last write of each path wins. */
export function lastWrites(notes: readonly Written[]): Map<string, unknown> {
  const winners = new Map<string, Written>();
  for (const note of notes) {
    if (note.op !== "set") continue;
    const key = note.path.join("/");
    const best = winners.get(key);
    if (best === undefined || isLater(note, best)) winners.set(key, note);
  }
  return new Map([...winners].map(([key, note]) => [key, note.value]));
}

function isLater(a: Written, b: Written): boolean {
  if (a.event.time !== b.event.time) return a.event.time > b.event.time;
  return a.event.actor > b.event.actor;
}

/** The counters among the notes: what is alive adds up. */
export function sums(notes: readonly Written[]): Map<string, number> {
  const totals = new Map<string, number>();
  for (const note of notes) {
    if (note.op !== "add") continue;
    const key = note.path.join("/");
    totals.set(key, (totals.get(key) ?? 0) + (note.value as number));
  }
  return totals;
}
