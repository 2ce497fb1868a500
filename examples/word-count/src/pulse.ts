import type { PulseReplica } from "./groups.ts";

const INTERVAL_MS = 10;
const SAMPLES_MAX = 100_000;

/**
 * Measures propagation: each node writes the time into a register of its own, and notes how old the times of the
 * others are when it sees them.
 */
export class Pulse {
  readonly #replica: PulseReplica;
  readonly #name: string;
  readonly #latenciesMs: number[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #startedAtMs = sharedClockMs();
  readonly #stopWatching: () => void;

  /** Begins at once. */
  constructor(replica: PulseReplica, name: string) {
    this.#replica = replica;
    this.#name = name;
    this.#stopWatching = replica.subscribe(({ origin, keys }) => {
      if (origin === "remote") for (const key of keys) this.#see(key);
    });
    this.#timer = setInterval(() => void this.#beat(), INTERVAL_MS);
  }

  /** Stops writing; waits until the last write is in the journal. Returns the latencies seen, in milliseconds. */
  async stop(): Promise<readonly number[]> {
    clearInterval(this.#timer);
    await this.#beat();
    this.#stopWatching();
    return this.#latenciesMs;
  }

  #beat(): PromiseLike<void> {
    return this.#replica.mutate((times) => times.at(this.#name).set(sharedClockMs()));
  }

  #see(name: string): void {
    const sentAtMs = this.#replica.read((times) => times.get(name));
    // What was written before this node was there says nothing about the way it took.
    if (sentAtMs === undefined || sentAtMs < this.#startedAtMs) return;
    if (this.#latenciesMs.length < SAMPLES_MAX) this.#latenciesMs.push(sharedClockMs() - sentAtMs);
  }
}

/** The machine's monotonic clock, the same one in every process. */
function sharedClockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
