import type { Actor } from "@coppice/crdt";

/** How fast a peer may make this node work. */
export interface Rates {
  readonly eventsPerSecondMax: number;
  readonly newActorsPerMinuteMax: number;
}

/** What is to be done with something a peer sent: take it, ignore it and ask again later, or end the link. */
export type Judgement = "take" | "later" | "abuse";

/** Ignored events, in seconds of the rate, after which a peer that goes on as before counts as abusive. */
const PATIENCE_S = 60;
/** Ignored events that are forgiven for each that is taken: whoever sends up to so many times the rate is never abusive. */
const FORGIVEN = 4;
/** What a message that nobody stores (presence, a broadcast) counts for beside its bytes. */
export const MESSAGE_OVERHEAD_BYTES = 64;
/** Against the events that a peer may send, such a message counts as one for so many bytes. */
const BYTES_PER_EVENT = 16;
/** Actors remembered of one peer. */
const KNOWN_ACTORS_MAX = 100_000;

/**
 * Token buckets of one peer. Nothing is lost by ignoring events: their group is asked for again later, as after a lost
 * frame. A peer that keeps sending far more than it may is cut off.
 */
export class PeerMeter {
  readonly #rates: Rates;
  readonly #events: Bucket;
  readonly #actors: Bucket;
  readonly #known = new Set<Actor>();
  #ignored = 0;

  constructor(rates: Rates) {
    this.#rates = rates;
    this.#events = new Bucket(rates.eventsPerSecondMax / 1000, rates.eventsPerSecondMax);
    this.#actors = new Bucket(rates.newActorsPerMinuteMax / 60_000, rates.newActorsPerMinuteMax);
  }

  /**
   * Judges events at a time in milliseconds that never goes back. `actor` is given when it is new in its group; it counts
   * against the rate only the first time, for one actor may well have written in very many groups.
   */
  judge(events: number, actor: Actor | undefined, now: number): Judgement {
    if (actor !== undefined && !this.#known.has(actor)) {
      if (!this.#actors.take(1, now)) return "later";
      if (this.#known.size >= KNOWN_ACTORS_MAX) this.#known.clear();
      this.#known.add(actor);
    }
    if (this.#events.take(events, now)) {
      // Not all is forgiven at once: of a flood, too, the part that the rate allows is taken.
      this.#ignored = Math.max(0, this.#ignored - FORGIVEN * events);
      return "take";
    }
    this.#ignored += events;
    return this.#ignored > PATIENCE_S * this.#rates.eventsPerSecondMax ? "abuse" : "later";
  }

  /** Judges a message of so many bytes that nobody stores. */
  judgeMessage(bytes: number, now: number): Judgement {
    return this.judge(Math.ceil((bytes + MESSAGE_OVERHEAD_BYTES) / BYTES_PER_EVENT), undefined, now);
  }
}

/** Fills up at a rate; something larger than it can hold is let through once it is full. */
export class Bucket {
  readonly #perMs: number;
  readonly #size: number;
  #level: number;
  #at: number | undefined;

  constructor(perMs: number, size: number) {
    this.#perMs = perMs;
    this.#size = size;
    this.#level = size;
  }

  take(count: number, now: number): boolean {
    this.#level = Math.min(this.#size, this.#level + (now - (this.#at ?? now)) * this.#perMs);
    this.#at = now;
    if (this.#level < Math.min(count, this.#size)) return false;
    this.#level -= count;
    return true;
  }
}
