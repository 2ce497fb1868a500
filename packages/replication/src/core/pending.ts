import type { Actor, VersionVector } from "@coppice/crdt";
import type { Dependency, Run } from "./run.ts";

/**
 * Runs that wait for events before them, under a byte cap. What came from a peer may be dropped at any time, since the
 * peer can be asked again; what came from the own journal is kept whatever the cap.
 */
export class PendingBuffer {
  readonly #bytesMax: number;
  /** By actor. */
  readonly #runs = new Map<Actor, Run[]>();
  #bytes = 0;
  /** Runs that nobody could send again. */
  readonly #journalled = new Set<Run>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Events that wait. */
  get events(): number {
    let events = 0;
    for (const list of this.#runs.values()) for (const run of list) events += run.count;
    return events;
  }

  get isEmpty(): boolean {
    return this.#runs.size === 0;
  }

  /** False when the run was dropped because the buffer is full. */
  add(run: Run, fromJournal: boolean): boolean {
    const list = this.#runs.get(run.actor) ?? [];
    // Most come in order, so from behind.
    const before = list.findLastIndex((known) => known.firstSeq <= run.firstSeq);
    if ((list[before]?.lastSeq ?? 0) >= run.lastSeq) return true;
    if (!fromJournal && this.#bytes + run.bytes.length > this.#bytesMax) return false;
    list.splice(before + 1, 0, run);
    this.#runs.set(run.actor, list);
    this.#bytes += run.bytes.length;
    if (fromJournal) this.#journalled.add(run);
    return true;
  }

  /** The runs that may follow now: for each actor the first that is not yet wholly known at `vector`. */
  candidates(vector: VersionVector): Run[] {
    const found: Run[] = [];
    for (const [actor, list] of this.#runs) {
      const known = vector.get(actor);
      while (list.length > 0 && (list[0] as Run).lastSeq <= known) this.#drop(list.shift() as Run);
      const first = list[0];
      if (first === undefined) this.#runs.delete(actor);
      else if (first.firstSeq <= known + 1) found.push(first);
    }
    return found;
  }

  /** Lets go of a run that cannot be applied. */
  drop(run: Run): void {
    const list = this.#runs.get(run.actor) ?? [];
    const kept = list.filter((other) => other !== run);
    if (kept.length < list.length) this.#drop(run);
    if (kept.length === 0) this.#runs.delete(run.actor);
    else this.#runs.set(run.actor, kept);
  }

  /** What is missing first, for each actor whose runs wait. */
  missing(vector: VersionVector): Dependency[] {
    return [...this.#runs.values()].flatMap((list) => blockers(list[0], vector));
  }

  /** Drops the runs of peers that wait for events of which `isLost` says so; returns how many events. */
  giveUp(vector: VersionVector, isLost: (event: Dependency) => boolean): number {
    let events = 0;
    for (const [actor, list] of this.#runs) {
      if (!blockers(list[0], vector).some(isLost)) continue;
      const kept = list.filter((run) => this.#journalled.has(run));
      for (const run of list) {
        if (kept.includes(run)) continue;
        this.#drop(run);
        events += run.count;
      }
      if (kept.length === 0) this.#runs.delete(actor);
      else this.#runs.set(actor, kept);
    }
    return events;
  }

  #drop(run: Run): void {
    this.#bytes -= run.bytes.length;
    this.#journalled.delete(run);
  }
}

/** The buffer of a group whose events have all come in order; never added to. */
export const NOTHING_PENDING: PendingBuffer = new PendingBuffer(0);

/** What keeps a run from being applied: a gap before it in its actor's sequence, or else its dependencies. */
function blockers(run: Run | undefined, vector: VersionVector): readonly Dependency[] {
  if (run === undefined) return [];
  const known = vector.get(run.actor);
  if (run.firstSeq > known + 1) return [{ actor: run.actor, seq: run.firstSeq - 1 }];
  const row = run.dependencies.find(({ index }) => index === known + 1 - run.firstSeq);
  return row?.list.filter(({ actor, seq }) => vector.get(actor) < seq) ?? [];
}
