import { ReplicationError } from "../error.ts";
import type { CoreContext } from "./context.ts";

/** Watches how far this node's clock is ahead of its peers': one far ahead would win over all that others write. */
export class ClockGuard {
  readonly #core: CoreContext;
  #isAhead = false;

  constructor(core: CoreContext) {
    this.#core = core;
  }

  tick(): void {
    const { clockSkewMaxMs } = this.#core.limits;
    const known = [...this.#core.peers.values()].flatMap(({ clockAheadMs }) => clockAheadMs ?? []);
    const isAhead = known.length > 0 && known.every((ahead) => ahead < -clockSkewMaxMs);
    if (isAhead && !this.#isAhead) {
      this.#core.notice("CLOCK_SKEW", "this node's clock is far ahead of all its peers'; own writes are refused");
    }
    this.#isAhead = isAhead;
  }

  /** Throws `CLOCK_SKEW` while own writes are refused. */
  check(): void {
    if (!this.#isAhead) return;
    const message = `this node's clock is over ${this.#core.limits.clockSkewMaxMs} ms ahead of all its peers'; set it right`;
    throw new ReplicationError("CLOCK_SKEW", message);
  }
}
