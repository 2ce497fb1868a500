/**
 * The protocol of y-websocket, as its clients speak it (y-protocols 1). All integers are unsigned LEB128.
 *
 * | message         | bytes                                                                        |
 * |-----------------|------------------------------------------------------------------------------|
 * | sync, step 1    | 0, 0, state vector as bytes: send me what this lacks                         |
 * | sync, step 2    | 0, 1, update as bytes: the answer                                            |
 * | sync, update    | 0, 2, update as bytes                                                        |
 * | awareness       | 1, (count, (client, clock, state as text)…) as bytes; "null" for one who left |
 * | awareness query | 3                                                                            |
 *
 * Bytes and texts are a length, then so many bytes.
 */
import { ServerError } from "../error.ts";

export const MESSAGE_SYNC = 0;
export const MESSAGE_AWARENESS = 1;
export const MESSAGE_QUERY_AWARENESS = 3;
export const SYNC_STEP_1 = 0;
export const SYNC_STEP_2 = 1;
export const SYNC_UPDATE = 2;

/** The state of a client that has left. */
export const GONE = "null";

const CONTINUES = 0x80;
const LOW_BITS = 0x7f;

/** Reads a message. Every method throws `INVALID_REQUEST` at its end. */
export class WireReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  uint(): number {
    let value = 0;
    for (let factor = 1; ; factor *= CONTINUES) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined || factor > Number.MAX_SAFE_INTEGER) throw malformed();
      value += (byte & LOW_BITS) * factor;
      if (byte < CONTINUES) return value;
    }
  }

  bytes(): Uint8Array {
    const length = this.uint();
    if (length > this.#bytes.length - this.#at) throw malformed();
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }
}

/** The bytes of a message: numbers as they are, bytes and texts with their length before. */
export function wire(...parts: readonly (number | Uint8Array | string)[]): Uint8Array {
  const chunks = parts.flatMap((part) => {
    if (typeof part === "number") return [uint(part)];
    const bytes = typeof part === "string" ? new TextEncoder().encode(part) : part;
    return [uint(bytes.length), bytes];
  });
  return new Uint8Array(Buffer.concat(chunks));
}

function uint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= CONTINUES) {
    bytes.push((rest % CONTINUES) | CONTINUES);
    rest = Math.floor(rest / CONTINUES);
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/** What one client says of itself: where its cursor is, what it is called. */
export interface AwarenessEntry {
  readonly client: number;
  readonly clock: number;
  /** JSON; `null` for one who left. */
  readonly state: string;
}

export function readAwareness(bytes: Uint8Array): AwarenessEntry[] {
  const reader = new WireReader(bytes);
  const count = reader.uint();
  const entries: AwarenessEntry[] = [];
  while (entries.length < count) entries.push({ client: reader.uint(), clock: reader.uint(), state: reader.text() });
  return entries;
}

/** A whole awareness message. */
export function awarenessMessage(entries: readonly AwarenessEntry[]): Uint8Array {
  const parts = entries.flatMap(({ client, clock, state }) => [client, clock, state]);
  return wire(MESSAGE_AWARENESS, wire(entries.length, ...parts));
}

function malformed(): ServerError {
  return new ServerError("INVALID_REQUEST", "not a message of the y-websocket protocol");
}
