import { rateLimited } from "./rate-limiter.ts";

/** When to come back to a place that is taken. */
const RETRY_MS = 5000;

/** So many at a time. */
export class Places {
  readonly #max: number;
  readonly #what: string;
  #taken = 0;

  constructor(max: number, what: string) {
    this.#max = max;
    this.#what = what;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Takes a place; returns how to leave it, which may be called again. Throws `RATE_LIMITED` when there is none. */
  take(): () => void {
    if (this.#taken >= this.#max) throw rateLimited(`there are ${this.#max} ${this.#what} already`, RETRY_MS);
    this.#taken++;
    let isTaken = true;
    return () => {
      if (isTaken) this.#taken--;
      isTaken = false;
    };
  }
}
