import { VersionVector } from "@coppice/crdt";
import { type KeptRun, lastOf, memoryOf, pack, unpack } from "./kept-run.ts";
import type { Run } from "./run.ts";

const RUNS_FEW = 4;
/** Runs looked at for one that a peer has otherwise. */
const CONTRADICTING_MAX = 64;
const NO_RUNS: KeptRun[] = [];
/** A floor that the tail always reaches back to; never changed. */
const GROUND = new VersionVector();

/**
 * The newest runs of a group, in the order in which they were applied: what brings a peer up to date that is only a
 * little behind. `floor` is what the tail no longer reaches back to.
 */
export class Tail {
  #runs: KeptRun[] = NO_RUNS;
  #bytes = 0;
  #floor: VersionVector;

  constructor(floor: VersionVector) {
    this.#floor = copyOf(floor);
  }

  /** About what the runs take in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  add(run: Run): void {
    // Of exactly that length: an array that is spread or pushed to takes room for sixteen more.
    const kept = pack(run);
    if (this.#runs.length < RUNS_FEW) this.#runs = this.#runs.concat([kept]);
    else this.#runs.push(kept);
    this.#bytes += memoryOf(kept);
  }

  /** Forgets the oldest runs as long as all take more than `bytesMax` in memory. */
  trim(bytesMax: number): void {
    while (this.#bytes > bytesMax) {
      const oldest = this.#runs.shift() as KeptRun;
      this.#bytes -= memoryOf(oldest);
      const { actor, seq } = lastOf(oldest);
      if (this.#floor.get(actor) >= seq) continue;
      if (this.#floor === GROUND) this.#floor = new VersionVector();
      this.#floor.set(actor, seq);
    }
  }

  /** Forgets everything: what `vector` covers can no longer be told event by event. */
  reset(vector: VersionVector): void {
    this.#runs = NO_RUNS;
    this.#bytes = 0;
    this.#floor = copyOf(vector);
  }

  /** The runs that a replica at `vector` lacks, in causal order; undefined when the tail does not reach back to it. */
  since(vector: VersionVector): Run[] | undefined {
    if (!vector.includes(this.#floor)) return undefined;
    const missing: Run[] = [];
    for (const kept of this.#runs) {
      const { actor, seq } = lastOf(kept);
      if (seq > vector.get(actor)) missing.push(unpack(kept));
    }
    return missing;
  }

  /**
   * Whether a run of the very same events is here with other content. Relays pass runs on as they are, so this is not to
   * be: two processes write under one actor. Only the newest are looked at.
   */
  contradicts(run: Run): boolean {
    const oldest = Math.max(0, this.#runs.length - CONTRADICTING_MAX);
    for (let index = this.#runs.length - 1; index >= oldest; index--) {
      const kept = this.#runs[index] as KeptRun;
      const { actor, seq } = lastOf(kept);
      if (actor !== run.actor || seq !== run.lastSeq) continue;
      const known = unpack(kept);
      if (known.count !== run.count) continue;
      return known.bytes.length !== run.bytes.length || known.bytes.some((byte, at) => byte !== run.bytes[at]);
    }
    return false;
  }
}

function copyOf(floor: VersionVector): VersionVector {
  return floor.size === 0 ? GROUND : floor.clone();
}
