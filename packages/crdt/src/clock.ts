import { CrdtError } from "./error.ts";

/** The epoch of hybrid timestamps: 2024-01-01T00:00:00Z, in Unix milliseconds. */
export const CLOCK_EPOCH_MS = 1_704_067_200_000;

/** Logical steps within one millisecond. */
export const CLOCK_STEPS_PER_MS = 4096;

/**
 * A hybrid timestamp: `(milliseconds since 2024) * 4096 + counter`, a safe integer until the year 2093.
 * Two timestamps of one actor differ; across actors ties are broken by the actor.
 */
export type HybridTime = number;

/** The hybrid timestamp of a wall-clock time in Unix milliseconds, counter 0. Times before 2024 count as 0. */
export function hybridTime(unixMs: number): HybridTime {
  return Math.max(0, Math.floor(unixMs) - CLOCK_EPOCH_MS) * CLOCK_STEPS_PER_MS;
}

/** The wall-clock time of a hybrid timestamp, in Unix milliseconds. */
export function unixMs(time: HybridTime): number {
  return Math.floor(time / CLOCK_STEPS_PER_MS) + CLOCK_EPOCH_MS;
}

/**
 * A hybrid logical clock (Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks", 2014), packed into one
 * safe integer. `next()` always exceeds everything issued and observed before, so a write that follows another in
 * causal order has the later timestamp, whatever the wall clocks say.
 */
export class HybridClock {
  #last: HybridTime;
  readonly #now: () => number;

  /**
   * @param now the wall clock, in Unix milliseconds; may jump or stand still
   * @param last the highest timestamp observed so far
   */
  constructor(now: () => number, last: HybridTime = 0) {
    this.#now = now;
    this.#last = last;
  }

  /** The highest timestamp issued or observed. */
  get last(): HybridTime {
    return this.#last;
  }

  /** A new timestamp, above everything issued and observed. Throws `LIMIT_EXCEEDED` past the last safe integer. */
  next(): HybridTime {
    const physical = hybridTime(this.#now());
    const time = physical > this.#last ? physical : this.#last + 1;
    if (time >= Number.MAX_SAFE_INTEGER) throw new CrdtError("LIMIT_EXCEEDED", "the hybrid clock is exhausted");
    this.#last = time;
    return time;
  }

  /** Takes note of a timestamp seen in an event or a state. */
  observe(time: HybridTime): void {
    if (time > this.#last) this.#last = time;
  }

  /** How far the clock runs ahead of the wall clock, in milliseconds: far-future stamps were observed. */
  aheadMs(): number {
    return Math.max(0, unixMs(this.#last) - Math.floor(this.#now()));
  }
}
