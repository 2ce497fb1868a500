import type { Actor, VersionVector } from "@coppice/crdt";
import type { Run } from "./run.ts";

/**
 * Runs that wait for events before them, under a byte cap. What came from a peer may be dropped at any time, since the
 * peer can be asked again; what came from the own journal is kept whatever the cap.
 */
export class PendingBuffer {
  readonly #bytesMax: number;
  readonly #runs = new Map<Actor, Run[]>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#runs.size === 0;
  }

  /** False when the run was dropped because the buffer is full. */
  add(run: Run, fromJournal: boolean): boolean {
    const list = this.#runs.get(run.actor) ?? [];
    if (list.some((known) => known.firstSeq <= run.firstSeq && known.lastSeq >= run.lastSeq)) return true;
    if (!fromJournal && this.#bytes + run.bytes.length > this.#bytesMax) return false;
    const place = list.findIndex((known) => known.firstSeq > run.firstSeq);
    list.splice(place < 0 ? list.length : place, 0, run);
    this.#runs.set(run.actor, list);
    this.#bytes += run.bytes.length;
    return true;
  }

  /** The runs that may follow now: for each actor the first that is not yet wholly known at `vector`. */
  candidates(vector: VersionVector): Run[] {
    const found: Run[] = [];
    for (const [actor, list] of this.#runs) {
      const known = vector.get(actor);
      while (list.length > 0 && (list[0] as Run).lastSeq <= known) this.#bytes -= (list.shift() as Run).bytes.length;
      const first = list[0];
      if (first === undefined) this.#runs.delete(actor);
      else if (first.firstSeq <= known + 1) found.push(first);
    }
    return found;
  }

  clear(): void {
    this.#runs.clear();
    this.#bytes = 0;
  }
}
