/** What keeps callers from taking more of the server than it has: one table for the option, its check and the settings. */
import { ServerError } from "../error.ts";

/** Limits of an HTTP server. */
export interface HttpLimits {
  /** Largest body of a request. */
  readonly bodyBytesMax: number;
  /** Largest head of a request. */
  readonly headerBytesMax: number;
  /** Connections at a time; more are closed at once. */
  readonly connectionsMax: number;
  /** Of them, from one address. */
  readonly connectionsPerAddressMax: number;
  /** Requests a second with one token; more are refused with `RATE_LIMITED`. */
  readonly requestsPerSecond: number;
  /** Requests a second from one address, whatever the token. */
  readonly requestsPerSecondPerAddress: number;
  /** Requests a minute from one address whose token is none; beyond, they are refused with `RATE_LIMITED`. */
  readonly failuresPerMinute: number;
  /** Streams and WebSockets that watch or edit, at a time. */
  readonly watchersMax: number;
  /** Messages a second on one WebSocket; more end it with `RATE_LIMITED`. */
  readonly messagesPerSecond: number;
  /** Largest message on a WebSocket; a larger one ends it. */
  readonly messageBytesMax: number;
  /** Bytes that wait for one slow reader; beyond, it is sent nothing until it has caught up. */
  readonly queueBytesMax: number;
  /** How long a reader may take to catch up before it is disconnected. */
  readonly stalledMs: number;
}

export type LimitName = keyof HttpLimits;

/** The defaults, and what the settings say of them. */
export const LIMITS: { readonly [Name in LimitName]: { readonly fallback: number; readonly description: string } } = {
  bodyBytesMax: { fallback: 1 << 20, description: "largest body of a request" },
  headerBytesMax: { fallback: 16 << 10, description: "largest head of a request" },
  connectionsMax: { fallback: 10_000, description: "connections at a time" },
  connectionsPerAddressMax: { fallback: 5000, description: "connections at a time from one address" },
  requestsPerSecond: { fallback: 20_000, description: "requests a second with one token" },
  requestsPerSecondPerAddress: { fallback: 50_000, description: "requests a second from one address" },
  failuresPerMinute: { fallback: 120, description: "requests a minute without a right token from one address" },
  watchersMax: { fallback: 10_000, description: "streams and WebSockets that watch or edit at a time" },
  messagesPerSecond: { fallback: 1000, description: "messages a second on one WebSocket" },
  messageBytesMax: { fallback: 16 << 20, description: "largest message on a WebSocket" },
  queueBytesMax: { fallback: 1 << 20, description: "bytes that wait for one slow reader" },
  stalledMs: { fallback: 60_000, description: "milliseconds that a slow reader has to catch up" },
};

export const LIMIT_NAMES = Object.keys(LIMITS) as readonly LimitName[];

/** The limits with their defaults. Throws `INVALID_OPTIONS`. */
export function checkLimits(given: Partial<HttpLimits> = {}): HttpLimits {
  const entries = LIMIT_NAMES.map((name) => {
    const value = given[name] ?? LIMITS[name].fallback;
    if (Number.isSafeInteger(value) && value > 0) return [name, value] as const;
    throw new ServerError("INVALID_OPTIONS", `the limit ${name} must be a whole number above 0, not ${value}`);
  });
  // Every name has its entry.
  return Object.fromEntries(entries) as unknown as HttpLimits;
}
