import { ServerError } from "../error.ts";
import { RequestFailure } from "./problem.ts";

/** Callers remembered at a time; one that is forgotten begins anew. */
const KEYS_MAX = 10_000;

/**
 * Lets each key through so many times in a period, a whole period's worth of them at once: the generic cell rate
 * algorithm (ITU-T I.371), which keeps one number a key, the time at which the key has used up what it did.
 */
export class RateLimiter {
  readonly #intervalMs: number;
  readonly #periodMs: number;
  readonly #now: () => number;
  readonly #spentAtMs = new Map<string, number>();

  /** @param now a clock in milliseconds that never goes back */
  constructor(count: number, periodMs: number, now: () => number = () => performance.now()) {
    this.#intervalMs = periodMs / count;
    this.#periodMs = periodMs;
    this.#now = now;
  }

  /** 0 when the key may go on, otherwise in how many milliseconds; that is then no use of it. */
  take(key = ""): number {
    const now = this.#now();
    const known = this.#spentAtMs.get(key);
    const spentAt = Math.max(known ?? 0, now) + this.#intervalMs;
    const waitMs = spentAt - now - this.#periodMs;
    // A key that may do one thing a period has used it up with one.
    if (waitMs > 1e-6) return waitMs;
    if (known === undefined && this.#spentAtMs.size >= KEYS_MAX) this.#forget(now);
    this.#spentAtMs.set(key, spentAt);
    return 0;
  }

  /** Throws `RATE_LIMITED`, with when to try again. */
  check(key: string, what: string): void {
    const waitMs = this.take(key);
    if (waitMs > 0) throw rateLimited(`too many ${what}`, waitMs);
  }

  /** Those that are rested need no memory; when that is not enough, the oldest goes. */
  #forget(now: number): void {
    for (const [key, spentAt] of this.#spentAtMs) if (spentAt <= now) this.#spentAtMs.delete(key);
    if (this.#spentAtMs.size < KEYS_MAX) return;
    for (const key of this.#spentAtMs.keys()) {
      this.#spentAtMs.delete(key);
      return;
    }
  }
}

/** An error for who has to wait. */
export function rateLimited(reason: string, waitMs: number): RequestFailure {
  const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
  const detail = `${reason}; try again in ${retryAfterSeconds} s`;
  return new RequestFailure(new ServerError("RATE_LIMITED", detail), { retryAfterSeconds });
}

/** A machine on IPv6 has a whole /64 of addresses, so they count as one. */
export function addressKey(address: string | undefined): string {
  if (address === undefined || !address.includes(":")) return address ?? "";
  if (address.startsWith("::ffff:")) return address.slice("::ffff:".length);
  const [head = "", tail = ""] = address.split("::", 2);
  const groups = head === "" ? [] : head.split(":");
  const missing = address.includes("::") ? 8 - groups.length - (tail === "" ? 0 : tail.split(":").length) : 0;
  return [...groups, ...Array.from({ length: missing }, () => "0"), ...tail.split(":")].slice(0, 4).join(":");
}
