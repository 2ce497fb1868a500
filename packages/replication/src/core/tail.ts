import type { VersionVector } from "@coppice/crdt";
import type { Run } from "./run.ts";

const RUNS_FEW = 4;
/** What a run takes in memory beside its bytes: the objects around them, and its place here. */
const RUN_BYTES = 300;
/** Runs looked at for one that a peer has otherwise. */
const CONTRADICTING_MAX = 64;
const NO_RUNS: Run[] = [];

/**
 * The newest runs of a group, in the order in which they were applied, under a byte cap: what brings a peer up to date
 * that is only a little behind. `floor` is what the tail no longer reaches back to.
 */
export class Tail {
  #bytesMax: number;
  #runs: Run[] = NO_RUNS;
  #start = 0;
  #bytes = 0;
  #floor: VersionVector;

  constructor(bytesMax: number, floor: VersionVector) {
    this.#bytesMax = bytesMax;
    this.#floor = floor.clone();
  }

  /** About what the runs take in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  add(run: Run): void {
    // Of exactly that length: an array that is spread or pushed to takes room for sixteen more.
    if (this.#runs.length < RUNS_FEW) this.#runs = this.#runs.concat([run]);
    else this.#runs.push(run);
    this.#bytes += RUN_BYTES + run.bytes.length;
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
    this.#floor = vector.clone();
  }

  /** The runs that a replica at `vector` lacks, in causal order; undefined when the tail does not reach back to it. */
  since(vector: VersionVector): Run[] | undefined {
    if (!vector.includes(this.#floor)) return undefined;
    const missing: Run[] = [];
    for (let index = this.#start; index < this.#runs.length; index++) {
      const run = this.#runs[index] as Run;
      if (run.lastSeq > vector.get(run.actor)) missing.push(run);
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
      const known = this.#runs[index] as Run;
      if (known.actor !== run.actor || known.firstSeq !== run.firstSeq || known.count !== run.count) continue;
      return known.bytes.length !== run.bytes.length || known.bytes.some((byte, at) => byte !== run.bytes[at]);
    }
    return false;
  }

  #dropOldest(): void {
    const run = this.#runs[this.#start] as Run;
    this.#start++;
    this.#bytes -= RUN_BYTES + run.bytes.length;
    if (this.#floor.get(run.actor) < run.lastSeq) this.#floor.set(run.actor, run.lastSeq);
  }
}
