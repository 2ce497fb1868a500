import { VersionVector } from "@coppice/crdt";
import { type PackedRun, memoryOf, pack, unpack } from "./packed-run.ts";
import type { Run } from "./run.ts";

const RUNS_FEW = 4;
/** Runs looked at for one that a peer has otherwise. */
const CONTRADICTING_MAX = 64;
const NO_RUNS: (Run | PackedRun)[] = [];
/** A floor that the tail always reaches back to; never changed. */
const GROUND = new VersionVector();

/**
 * The newest runs of a group, in the order in which they were applied, under a byte cap: what brings a peer up to date
 * that is only a little behind. `floor` is what the tail no longer reaches back to.
 */
export class Tail {
  #bytesMax: number;
  #runs: (Run | PackedRun)[] = NO_RUNS;
  #start = 0;
  #bytes = 0;
  #floor: VersionVector;

  constructor(bytesMax: number, floor: VersionVector) {
    this.#bytesMax = bytesMax;
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
    this.#trim();
  }

  /** Changes the cap. */
  limit(bytesMax: number): void {
    this.#bytesMax = bytesMax;
    this.#trim();
  }

  #trim(): void {
    while (this.#bytes > this.#bytesMax && this.#start < this.#runs.length) this.#dropOldest();
    if (this.#start > 64 && 2 * this.#start > this.#runs.length) {
      this.#runs = this.#runs.slice(this.#start);
      this.#start = 0;
    }
  }

  /** Forgets everything: what `vector` covers can no longer be told event by event. */
  reset(vector: VersionVector): void {
    this.#runs = NO_RUNS;
    this.#start = 0;
    this.#bytes = 0;
    this.#floor = copyOf(vector);
  }

  /** The runs that a replica at `vector` lacks, in causal order; undefined when the tail does not reach back to it. */
  since(vector: VersionVector): Run[] | undefined {
    if (!vector.includes(this.#floor)) return undefined;
    const missing: Run[] = [];
    for (let index = this.#start; index < this.#runs.length; index++) {
      const kept = this.#runs[index] as Run | PackedRun;
      if (kept.lastSeq > vector.get(kept.actor)) missing.push(unpack(kept));
    }
    return missing;
  }

  /**
   * Whether a run of the very same events is here with other content. Relays pass runs on as they are, so this is not to
   * be: two processes write under one actor. Only the newest are looked at.
   */
  contradicts(run: Run): boolean {
    const oldest = Math.max(this.#start, this.#runs.length - CONTRADICTING_MAX);
    for (let index = this.#runs.length - 1; index >= oldest; index--) {
      const kept = this.#runs[index] as Run | PackedRun;
      if (kept.actor !== run.actor || kept.lastSeq !== run.lastSeq) continue;
      const known = unpack(kept);
      if (known.count !== run.count) continue;
      return known.bytes.length !== run.bytes.length || known.bytes.some((byte, at) => byte !== run.bytes[at]);
    }
    return false;
  }

  #dropOldest(): void {
    const oldest = this.#runs[this.#start] as Run | PackedRun;
    this.#start++;
    this.#bytes -= memoryOf(oldest);
    if (this.#floor.get(oldest.actor) >= oldest.lastSeq) return;
    if (this.#floor === GROUND) this.#floor = new VersionVector();
    this.#floor.set(oldest.actor, oldest.lastSeq);
  }
}

function copyOf(floor: VersionVector): VersionVector {
  return floor.size === 0 ? GROUND : floor.clone();
}
