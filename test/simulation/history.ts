import type { Actor, HybridTime, VersionVector } from "@coppice/crdt";

/** What an operation did, at a path of keys. */
export interface Note {
  /** A removal takes everything under its path that its writer had seen. */
  readonly op: "add" | "set" | "append" | "remove" | "update";
  readonly path: readonly string[];
  readonly value?: Scalar;
  /** Of `update`: what a document's own library says of the change. */
  readonly update?: readonly Uint8Array[];
}

export type Scalar = number | string | boolean;

/** One event as its writer made it. */
export interface HistoryEvent {
  readonly group: string;
  readonly epoch: number;
  readonly actor: Actor;
  readonly seq: number;
  readonly time: HybridTime;
  /** What its writer had applied before. */
  readonly past: VersionVector;
  readonly notes: readonly Note[];
}

/** What the notes that are alive at a vector add up to. */
export interface Expected {
  /** Sums of `add`, by path joined with "/". */
  readonly sums: ReadonlyMap<string, number>;
  /** The `set` that wins, by path joined with "/". */
  readonly writes: ReadonlyMap<string, Scalar>;
  /** Every `set` that no other has seen, by path joined with "/". */
  readonly concurrent: ReadonlyMap<string, readonly Scalar[]>;
  /** Every `append`, by time, actor, and order within the actor. */
  readonly log: readonly Scalar[];
  /** Every `update`, in no particular order. */
  readonly updates: readonly Uint8Array[];
}

interface Written extends Note {
  readonly event: HistoryEvent;
  readonly index: number;
}

/** Every event of the world, kept apart from the code under test: what each type means, naively. */
export class History {
  readonly #groups = new Map<string, Map<Actor, HistoryEvent[]>>();
  events = 0;

  /** Returns why the event cannot be, or undefined. */
  add(event: HistoryEvent): string | undefined {
    const actors = this.#actors(event.group, event.epoch);
    const list = actors.get(event.actor) ?? [];
    if (event.seq !== list.length + 1) {
      return `dot ${event.actor}:${event.seq} was issued after ${list.length} events of its actor`;
    }
    for (const [actor, seq] of event.past) {
      const last = actors.get(actor)?.[seq - 1];
      if (last !== undefined && last.time >= event.time) {
        return `dot ${event.actor}:${event.seq} of time ${event.time} follows ${actor}:${seq} of time ${last.time}`;
      }
    }
    list.push(event);
    actors.set(event.actor, list);
    this.events++;
    return undefined;
  }

  /** Why a vector is not closed under causality: an event that it covers without one that its writer knew. */
  open(group: string, epoch: number, vector: VersionVector): string | undefined {
    const actors = this.#actors(group, epoch);
    for (const [actor, seq] of vector) {
      const past = actors.get(actor)?.[seq - 1]?.past;
      for (const [other, known] of past ?? []) {
        if (vector.get(other) < known) return `${actor}:${seq} without ${other}:${known}, which it follows`;
      }
    }
    return undefined;
  }

  /** How many events an actor has issued in a group. */
  issued(group: string, epoch: number, actor: Actor): number {
    return this.#actors(group, epoch).get(actor)?.length ?? 0;
  }

  /** What a replica at `vector` must read. */
  expected(group: string, epoch: number, vector: VersionVector): Expected {
    const all: Written[] = [];
    for (const [actor, list] of this.#actors(group, epoch)) {
      for (const event of list.slice(0, vector.get(actor))) {
        event.notes.forEach((note, index) => all.push({ ...note, event, index }));
      }
    }
    const removals = all.filter(({ op }) => op === "remove");
    const sums = new Map<string, number>();
    const sets = new Map<string, Written[]>();
    const log: Written[] = [];
    const updates = all.flatMap(({ update = [] }) => update);
    for (const note of all) {
      if (note.op === "update") continue;
      if (note.op === "remove" || removals.some((removal) => isUnder(note, removal) && follows(removal, note)))
        continue;
      const key = note.path.join("/");
      if (note.op === "append") log.push(note);
      else if (note.op === "add") sums.set(key, (sums.get(key) ?? 0) + Number(note.value));
      else sets.set(key, [...(sets.get(key) ?? []), note]);
    }
    const writes = new Map<string, Scalar>();
    const concurrent = new Map<string, Scalar[]>();
    for (const [key, notes] of sets) {
      const unseen = notes.filter((note) => !notes.some((other) => other !== note && follows(other, note)));
      concurrent.set(
        key,
        unseen.map(({ value }) => value).filter((value) => value !== undefined),
      );
      const winner = notes.reduce((best, note) => (isLater(note, best) ? note : best));
      if (winner.value !== undefined) writes.set(key, winner.value);
    }
    log.sort((a, b) => (isLater(a, b) ? 1 : -1));
    return { sums, writes, concurrent, log: log.map(({ value }) => value ?? ""), updates };
  }

  #actors(group: string, epoch: number): Map<Actor, HistoryEvent[]> {
    const key = `${group} ${epoch}`;
    let actors = this.#groups.get(key);
    if (actors === undefined) this.#groups.set(key, (actors = new Map()));
    return actors;
  }
}

function isUnder(note: Written, removal: Written): boolean {
  return removal.path.every((key, level) => note.path[level] === key);
}

function follows(later: Written, earlier: Written): boolean {
  if (later.event === earlier.event) return later.index > earlier.index;
  return later.event.past.covers(earlier.event.actor, earlier.event.seq);
}

/** Which of two writes of one register is read: hybrid time, then actor, then order within the event. */
function isLater(a: Written, b: Written): boolean {
  if (a.event.time !== b.event.time) return a.event.time > b.event.time;
  if (a.event.actor !== b.event.actor) return a.event.actor > b.event.actor;
  return a.index > b.index;
}
