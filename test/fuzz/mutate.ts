import type { Random } from "../simulation/random.ts";

/** Bytes at which decoders change their minds. */
const BYTES = [0, 1, 2, 3, 15, 16, 63, 64, 65, 127, 128, 129, 191, 192, 254, 255];
/** Unsigned LEB128, at the limits and beyond them. */
const INTEGERS = [
  [0x80, 0x01],
  [0xff, 0x7f],
  [0x80, 0x80, 0x01],
  [0xff, 0xff, 0xff, 0xff, 0x07],
  [0x80, 0x80, 0x80, 0x80, 0x08],
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
  [0x80, 0x00],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
];
const WORDS = ["__proto__", "constructor", "toString", "hasOwnProperty", "", "\ud7ff", "\u0000", "then", "$object"];
const ACTOR_BYTES = 16;

/** Changes inputs at random, with a sense of how the formats are made: lengths before what they measure, and actors. */
export class Mutator {
  readonly #random: Random;
  /** Other inputs, to take parts from. */
  readonly #pool: readonly Uint8Array[];
  readonly #bytesMax: number;

  constructor(random: Random, pool: readonly Uint8Array[], bytesMax: number) {
    this.#random = random;
    this.#pool = pool;
    this.#bytesMax = bytesMax;
  }

  /** One to sixteen changes. */
  mutate(input: Uint8Array): Uint8Array {
    let bytes: Uint8Array = input.slice();
    for (let left = 1 << this.#random.int(this.#random.chance(0.1) ? 5 : 3); left > 0; left--)
      bytes = this.#once(bytes);
    return bytes.length > this.#bytesMax ? bytes.subarray(0, this.#bytesMax) : bytes;
  }

  #once(bytes: Uint8Array): Uint8Array {
    const random = this.#random;
    switch (random.int(12)) {
      case 0:
      case 1:
        return this.#set(bytes, (byte) => byte ^ (1 << random.int(8)));
      case 2:
        return this.#set(bytes, () => random.pick(BYTES));
      case 3:
        return this.#set(bytes, (byte) => byte + random.int(9) - 4);
      case 4:
        return this.#set(bytes, () => random.int(256));
      case 5:
        return this.#replace(bytes, random.int(4), Uint8Array.from(random.pick(INTEGERS)));
      case 6:
        return this.#replace(bytes, random.chance(0.5) ? 0 : random.int(8), this.#part());
      case 7:
        return this.#replace(bytes, 1 + random.int(random.chance(0.5) ? 4 : 32), new Uint8Array(0));
      case 8:
        return this.#within(bytes);
      case 9:
        return this.#repeat(bytes);
      case 10:
        return this.#actor(bytes);
      default:
        return random.chance(0.3) ? bytes.subarray(0, random.int(bytes.length + 1)) : this.#within(bytes);
    }
  }

  #set(bytes: Uint8Array, change: (byte: number) => number): Uint8Array {
    if (bytes.length === 0) return this.#part();
    const at = this.#random.int(bytes.length);
    bytes[at] = change(bytes[at] ?? 0);
    return bytes;
  }

  /** Puts `part` in the place of `count` bytes somewhere. */
  #replace(bytes: Uint8Array, count: number, part: Uint8Array, at = this.#random.int(bytes.length + 1)): Uint8Array {
    const end = Math.min(bytes.length, at + count);
    const changed = new Uint8Array(at + part.length + bytes.length - end);
    changed.set(bytes.subarray(0, at));
    changed.set(part, at);
    changed.set(bytes.subarray(end), at + part.length);
    return changed;
  }

  /** Changes what stands behind a byte that may be its length, and the length with it. */
  #within(bytes: Uint8Array): Uint8Array {
    const candidates: number[] = [];
    for (let at = 0; at < bytes.length; at++) {
      const length = bytes[at] ?? 0;
      if (length > 0 && length < 128 && at + length < bytes.length) candidates.push(at);
    }
    if (candidates.length === 0) return this.#set(bytes, () => this.#random.int(256));
    const at = this.#random.pick(candidates);
    const length = bytes[at] ?? 0;
    const part = this.#random.chance(0.5) ? this.#part() : new Uint8Array(0);
    const from = this.#random.int(length + 1);
    const gone = Math.min(length - from, this.#random.int(6));
    const changed = this.#replace(bytes, gone, part, at + 1 + from);
    const now = length - gone + part.length;
    if (now < 128) changed[at] = now;
    return changed;
  }

  #repeat(bytes: Uint8Array): Uint8Array {
    const at = this.#random.int(bytes.length + 1);
    const part = bytes.slice(at, at + 1 + this.#random.int(40));
    return this.#replace(bytes, 0, part, this.#random.chance(0.5) ? at : this.#random.int(bytes.length + 1));
  }

  /** Sixteen bytes from elsewhere over sixteen bytes here: one actor in the place of another, where it fits. */
  #actor(bytes: Uint8Array): Uint8Array {
    const other = this.#pick() ?? bytes;
    if (bytes.length < ACTOR_BYTES || other.length < ACTOR_BYTES) return this.#repeat(bytes);
    const from = this.#random.int(other.length - ACTOR_BYTES + 1);
    bytes.set(other.slice(from, from + ACTOR_BYTES), this.#random.int(bytes.length - ACTOR_BYTES + 1));
    return bytes;
  }

  /** Some bytes: of another input, of a word that objects know, or of nothing. */
  #part(): Uint8Array {
    const random = this.#random;
    const kind = random.int(6);
    if (kind === 0) return random.bytes(1 + random.int(8));
    if (kind === 1) {
      const text = Buffer.from(random.pick(WORDS));
      return random.chance(0.5) ? text : Buffer.concat([Buffer.of(text.length), text]);
    }
    const other = this.#pick();
    if (other === undefined || other.length === 0) return random.bytes(1);
    const at = random.int(other.length);
    return other.slice(at, at + 1 + random.int(random.chance(0.2) ? other.length : 24));
  }

  #pick(): Uint8Array | undefined {
    return this.#pool.length === 0 ? undefined : this.#random.pick(this.#pool);
  }
}
