import type { Actor, VersionVector } from "@coppice/crdt";
import type { Dependency, Run } from "./run.ts";
import type { FreshRun } from "./transfer.ts";

/**
 * Runs that wait for events before them, under a byte cap. What came from a peer may be dropped at any time, since the
 * peer can be asked again; what came from the own journal is kept whatever the cap.
 */
export class PendingBuffer {
  readonly #bytesMax: number;
  /** By actor, in the order of their first events. */
  readonly #runs = new Map<Actor, FreshRun[]>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Events that wait. */
  get events(): number {
    let events = 0;
    for (const list of this.#runs.values()) for (const { run } of list) events += run.count;
    return events;
  }

  get isEmpty(): boolean {
    return this.#runs.size === 0;
  }

  /** What came from a peer is dropped when the buffer is full. */
  add(waiting: FreshRun): void {
    const { actor, firstSeq, lastSeq, bytes } = waiting.run;
    const list = this.#runs.get(actor) ?? [];
    // Most come in order, so from behind.
    const before = list.findLastIndex(({ run }) => run.firstSeq <= firstSeq);
    if ((list[before]?.run.lastSeq ?? 0) >= lastSeq) return;
    if (!isJournalled(waiting) && this.#bytes + bytes.length > this.#bytesMax) return;
    list.splice(before + 1, 0, waiting);
    this.#runs.set(actor, list);
    this.#bytes += bytes.length;
  }

  /** The runs that may follow now: for each actor the first that is not yet wholly known at `vector`. */
  candidates(vector: VersionVector): FreshRun[] {
    const found: FreshRun[] = [];
    for (const [actor, list] of this.#runs) {
      const known = vector.get(actor);
      while (list[0] !== undefined && list[0].run.lastSeq <= known) this.#bytes -= list.shift()?.run.bytes.length ?? 0;
      const [first] = list;
      if (first === undefined) this.#runs.delete(actor);
      else if (first.run.firstSeq <= known + 1) found.push(first);
    }
    return found;
  }

  /** What is missing first, for each actor whose runs wait. */
  missing(vector: VersionVector): Dependency[] {
    return [...this.#runs.values()].flatMap((list) => blockers(list[0]?.run, vector));
  }

  /** Lets go of a run that cannot be applied. */
  drop(waiting: FreshRun): void {
    const { actor } = waiting.run;
    this.#keep(actor, this.#runs.get(actor)?.filter((other) => other !== waiting) ?? []);
  }

  /** Drops the runs of peers that wait for events of which `isLost` says so; returns how many events. */
  giveUp(vector: VersionVector, isLost: (event: Dependency) => boolean): number {
    const before = this.events;
    for (const [actor, list] of this.#runs) {
      if (blockers(list[0]?.run, vector).some(isLost)) this.#keep(actor, list.filter(isJournalled));
    }
    return before - this.events;
  }

  /** Of an actor's runs only these go on waiting. */
  #keep(actor: Actor, kept: FreshRun[]): void {
    for (const { run } of this.#runs.get(actor) ?? []) this.#bytes -= run.bytes.length;
    for (const { run } of kept) this.#bytes += run.bytes.length;
    if (kept.length === 0) this.#runs.delete(actor);
    else this.#runs.set(actor, kept);
  }
}

/** The buffer of a group whose events have all come in order; never added to. */
export const NOTHING_PENDING: PendingBuffer = new PendingBuffer(0);

/** Whether nobody could send it again: own events do not wait, but for those in the journal. */
function isJournalled({ source }: FreshRun): boolean {
  return source === undefined;
}

/** What keeps a run from being applied: a gap before it in its actor's sequence, or else its dependencies. */
function blockers(run: Run | undefined, vector: VersionVector): readonly Dependency[] {
  if (run === undefined) return [];
  const known = vector.get(run.actor);
  if (run.firstSeq > known + 1) return [{ actor: run.actor, seq: run.firstSeq - 1 }];
  const row = run.dependencies.find(({ index }) => index === known + 1 - run.firstSeq);
  return row?.list.filter(({ actor, seq }) => vector.get(actor) < seq) ?? [];
}
