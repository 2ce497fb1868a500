/**
 * The byte codec under every format of this project: events, states, frames, snapshots.
 *
 * | item    | bytes                                                                       |
 * |---------|-----------------------------------------------------------------------------|
 * | uint    | LEB128, at most 8 bytes, at most 2^53 - 1, minimal length                   |
 * | int     | zigzag uint (`n >= 0 ? 2n : -2n - 1`), from -2^52 to 2^52 - 1               |
 * | uint32  | 4 bytes, little-endian                                                       |
 * | float64 | 8 bytes, little-endian; of NaN the one form 0x7ff8000000000000                |
 * | bytes   | uint length, then the bytes                                                 |
 * | string  | uint length in bytes, then well-formed UTF-8                                |
 * | actor   | 16 bytes                                                                    |
 *
 * A reader never allocates more than its input is long, and throws `CrdtError` `MALFORMED` for everything that a
 * writer could not have written.
 */
import { ACTOR_BYTES, type Actor, actorAt, writeActorBytes } from "./actor.ts";
import { CrdtError } from "./error.ts";

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ASCII_LOOP_MAX = 64;
/** Bytes up to which a loop beats a copy, and the view that it may need. */
const COPY_LOOP_MAX = 32;
/** The same where it is done for very many: the views would have to be collected. */
const COPY_LOOP_LONG = 256;
const float = new DataView(new ArrayBuffer(8));
const floatBytes = new Uint8Array(float.buffer);
/** The upper half of the one form of NaN. */
const NAN_HIGH = 0x7ff80000;

/** Appends to a growing buffer. Reusable: `reset()` keeps the memory. */
export class Writer {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity = 64) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** Bytes that it holds memory for. */
  get capacity(): number {
    return this.#bytes.length;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** Forgets what was written, or what was written after `length` bytes. */
  reset(length = 0): void {
    this.#length = length;
  }

  /** A copy of what was written from byte `start` on. */
  take(start = 0): Uint8Array {
    return this.#bytes.slice(start, this.#length);
  }

  /** What was written, without a copy: valid until the next write or reset. */
  peek(start = 0): Uint8Array {
    return this.#bytes.subarray(start, this.#length);
  }

  /** Copies what was written into `target`, from its byte `at` on. */
  copyTo(target: Uint8Array, at: number): void {
    const bytes = this.#bytes;
    if (this.#length > COPY_LOOP_LONG) target.set(bytes.subarray(0, this.#length), at);
    else for (let index = 0; index < this.#length; index++) target[at + index] = bytes[index] as number;
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length++] = value;
  }

  /** Throws `RangeError` for anything but a safe integer of at least 0. */
  uint(value: number): void {
    if (value >= 0 && value < 128 && Number.isInteger(value)) {
      this.byte(value);
      return;
    }
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not an unsigned safe integer: ${value}`);
    if (this.#length + 8 > this.#bytes.length) this.#grow(8);
    const bytes = this.#bytes;
    let rest = value;
    let at = this.#length;
    while (rest > 0x7fffffff) {
      bytes[at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    while (rest > 127) {
      bytes[at++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.#length = at;
  }

  /** Throws `RangeError` for anything but an integer from -2^52 to 2^52 - 1. */
  int(value: number): void {
    if (!Number.isInteger(value)) throw new RangeError(`not an integer: ${value}`);
    this.uint(value >= 0 ? 2 * value : -2 * value - 1);
  }

  /** The lower 32 bits of `value`. */
  uint32(value: number): void {
    if (this.#length + 4 > this.#bytes.length) this.#grow(4);
    const bytes = this.#bytes;
    const at = this.#length;
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
    bytes[at + 2] = value >>> 16;
    bytes[at + 3] = value >>> 24;
    this.#length = at + 4;
  }

  float64(value: number): void {
    if (this.#length + 8 > this.#bytes.length) this.#grow(8);
    float.setFloat64(0, value, true);
    this.#bytes.set(floatBytes, this.#length);
    this.#length += 8;
  }

  /** Raw bytes, without a length. */
  raw(bytes: Uint8Array): void {
    const length = bytes.length;
    if (this.#length + length > this.#bytes.length) this.#grow(length);
    if (length > COPY_LOOP_MAX) this.#bytes.set(bytes, this.#length);
    else for (let index = 0; index < length; index++) this.#bytes[this.#length + index] = bytes[index] as number;
    this.#length += length;
  }

  bytes(bytes: Uint8Array): void {
    this.uint(bytes.length);
    this.raw(bytes);
  }

  /** What another writer holds, without a length. */
  append(other: Writer): void {
    const length = other.#length;
    if (this.#length + length > this.#bytes.length) this.#grow(length);
    const source = other.#bytes;
    if (length > COPY_LOOP_MAX) {
      this.#bytes.set(source.subarray(0, length), this.#length);
    } else {
      for (let index = 0; index < length; index++) this.#bytes[this.#length + index] = source[index] as number;
    }
    this.#length += length;
  }

  /** Throws `TypeError` for a string with a lone surrogate: it has no UTF-8 form. */
  string(text: string): void {
    const length = text.length;
    if (length <= ASCII_LOOP_MAX && this.#ascii(text, length, 0)) return;
    if (!text.isWellFormed())
      throw new TypeError(`a string with a lone surrogate cannot be stored: ${JSON.stringify(text)}`);
    this.bytes(textEncoder.encode(text));
  }

  /**
   * A string whose length is folded into its first byte: `first + n` for at most `lengthMax` (63 or less) bytes, else
   * the byte `long` and then a string. Throws `TypeError` as `string` does.
   */
  shortString(text: string, first: number, lengthMax: number, long: number): void {
    const length = text.length;
    if (length <= lengthMax && this.#ascii(text, length, first)) return;
    if (!text.isWellFormed())
      throw new TypeError(`a string with a lone surrogate cannot be stored: ${JSON.stringify(text)}`);
    const bytes = textEncoder.encode(text);
    if (bytes.length <= lengthMax) {
      this.byte(first + bytes.length);
      this.raw(bytes);
    } else {
      this.byte(long);
      this.bytes(bytes);
    }
  }

  #ascii(text: string, length: number, first: number): boolean {
    if (this.#length + length + 1 > this.#bytes.length) this.#grow(length + 1);
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at++] = first + length;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > 127) return false;
      bytes[at++] = code;
    }
    this.#length = at;
    return true;
  }

  actor(actor: Actor): void {
    if (this.#length + ACTOR_BYTES > this.#bytes.length) this.#grow(ACTOR_BYTES);
    writeActorBytes(actor, this.#bytes, this.#length);
    this.#length += ACTOR_BYTES;
  }

  #grow(by: number): void {
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + by));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
  }
}

/** Reads what a {@link Writer} wrote. Holds the bytes it is given: they must not change meanwhile. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  #end: number;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Goes to `start`; what follows ends at `end`. */
  move(start: number, end: number): void {
    this.#at = start;
    this.#end = end;
  }

  /** Position of the next byte. */
  get at(): number {
    return this.#at;
  }

  /** Bytes left. */
  get left(): number {
    return this.#end - this.#at;
  }

  /** Throws unless everything was read: trailing bytes are an error. */
  done(): void {
    if (this.#at !== this.#end) throw malformed(`${this.#end - this.#at} bytes too many`);
  }

  byte(): number {
    if (this.#at >= this.#end) throw malformed("the bytes end too early");
    return this.#bytes[this.#at++] as number;
  }

  uint(): number {
    const first = this.byte();
    if (first < 128) return first;
    let value = first & 127;
    let scale = 128;
    for (let count = 1; count < 8; count++) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (byte === 0) throw malformed("an integer is longer than it needs to be");
        if (value > Number.MAX_SAFE_INTEGER) throw malformed("an integer is too large");
        return value;
      }
      scale *= 128;
    }
    throw malformed("an integer is too long");
  }

  /** An unsigned integer of at most `max`; `what` names it in the error. */
  uintMax(max: number, what: string): number {
    const value = this.uint();
    if (value > max) throw malformed(`${what} is ${value}, above ${max}`);
    return value;
  }

  /** A number of items that follow, each of at least `bytesEach` bytes: never above what the input can hold. */
  count(bytesEach = 1): number {
    const value = this.uint();
    if (value * bytesEach > this.left) throw malformed(`${value} items do not fit into ${this.left} bytes`);
    return value;
  }

  int(): number {
    const value = this.uint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  uint32(): number {
    const at = this.#skip(4);
    const bytes = this.#bytes;
    const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
    return (low | ((bytes[at + 3] as number) << 24)) >>> 0;
  }

  float64(): number {
    const at = this.#skip(8);
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, 8);
    const value = view.getFloat64(0, true);
    if (Number.isNaN(value) && (view.getUint32(0, true) !== 0 || view.getUint32(4, true) !== NAN_HIGH)) {
      throw malformed("not the one form of NaN");
    }
    return value;
  }

  /** `length` raw bytes, as a view of the input. */
  raw(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** A copy of what was read from byte `start` on. */
  copy(start: number): Uint8Array {
    return this.#bytes.slice(start, this.#at);
  }

  /** Bytes behind their length, as a view of the input. */
  bytes(): Uint8Array {
    return this.raw(this.uint());
  }

  string(): string {
    return this.stringOf(this.uint());
  }

  /** A string of `length` bytes. */
  stringOf(length: number): string {
    const at = this.#skip(length);
    if (length <= ASCII_LOOP_MAX) {
      const text = asciiText(this.#bytes, at, length);
      if (text !== undefined) return text;
    }
    try {
      return textDecoder.decode(this.#bytes.subarray(at, at + length));
    } catch (cause) {
      throw malformed("a string is not UTF-8", cause);
    }
  }

  /** Whether these bytes come next; then it goes on behind them. */
  skip(bytes: Uint8Array): boolean {
    const { length } = bytes;
    if (length > this.left) return false;
    for (let index = 0; index < length; index++) if (this.#bytes[this.#at + index] !== bytes[index]) return false;
    this.#at += length;
    return true;
  }

  actor(): Actor {
    return actorAt(this.#bytes, this.#skip(ACTOR_BYTES));
  }

  #skip(length: number): number {
    const at = this.#at;
    if (length > this.#end - at) throw malformed("the bytes end too early");
    this.#at = at + length;
    return at;
  }
}

const code = String.fromCharCode;

// Eight codes a call: a flat string comes out, where adding one character at a time leaves a tree of them.
function asciiText(bytes: Uint8Array, at: number, length: number): string | undefined {
  const end = at + length;
  let text = "";
  let next = at;
  for (; next + 8 <= end; next += 8) {
    const b0 = bytes[next] as number;
    const b1 = bytes[next + 1] as number;
    const b2 = bytes[next + 2] as number;
    const b3 = bytes[next + 3] as number;
    const b4 = bytes[next + 4] as number;
    const b5 = bytes[next + 5] as number;
    const b6 = bytes[next + 6] as number;
    const b7 = bytes[next + 7] as number;
    if ((b0 | b1 | b2 | b3 | b4 | b5 | b6 | b7) > 127) return undefined;
    const part = code(b0, b1, b2, b3, b4, b5, b6, b7);
    text = next === at ? part : text + part;
  }
  for (; next + 4 <= end; next += 4) {
    const b0 = bytes[next] as number;
    const b1 = bytes[next + 1] as number;
    const b2 = bytes[next + 2] as number;
    const b3 = bytes[next + 3] as number;
    if ((b0 | b1 | b2 | b3) > 127) return undefined;
    text += code(b0, b1, b2, b3);
  }
  for (; next < end; next++) {
    const byte = bytes[next] as number;
    if (byte > 127) return undefined;
    text += code(byte);
  }
  return text;
}

/** The error for bytes that no writer could have written. */
export function malformed(message: string, cause?: unknown): CrdtError {
  return new CrdtError("MALFORMED", message, cause === undefined ? undefined : { cause });
}
