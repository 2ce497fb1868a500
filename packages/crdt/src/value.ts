/**
 * The codec of user values: what registers hold.
 *
 * | first byte   | value                                                               |
 * |--------------|---------------------------------------------------------------------|
 * | 0x00         | null                                                                |
 * | 0x01, 0x02   | false, true                                                         |
 * | 0x03         | integer of at least 64: uint                                        |
 * | 0x04         | integer of at most -1: uint `-1 - n`                                |
 * | 0x05         | any other number: float64 (-0, NaN and the infinities included)     |
 * | 0x06         | string of 64 bytes or more: string                                  |
 * | 0x07         | Uint8Array: bytes                                                   |
 * | 0x08, 0x09   | bigint of at least 0 (`n`), below 0 (`-1 - n`): bytes, little-endian |
 * | 0x0a         | Date: float64, Unix milliseconds, whole                             |
 * | 0x0b         | array: uint count, then the items                                   |
 * | 0x0c         | object: uint count, then (string key, value) each                   |
 * | 0x40 + n     | the integer n, 0 to 63                                              |
 * | 0x80 + n     | a string of n bytes, 0 to 63: the bytes                             |
 *
 * Limits: 64 levels of nesting, 1 MiB encoded. Each value has exactly one encoding, except that the keys of an object
 * keep their order. Values come back exactly: -0, NaN and the infinities too. (`JSON.stringify` then writes 0 or
 * null for them, as always.)
 */
import { type Reader, type Writer, malformed } from "./codec.ts";
import { CrdtError } from "./error.ts";

/** Most bytes of an encoded value. */
export const VALUE_BYTES_MAX: number = 1 << 20;

/** Most levels of arrays and objects within each other. */
export const VALUE_DEPTH_MAX = 64;

/** What a register can hold: JSON, and `Uint8Array`, `bigint`, `Date`. Exact and typed, unlike JSON. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value };

/**
 * An object of {@link Value}s that need not be a `Value` itself, as an interface is not, which has no index signature:
 * `T extends Value | Storable<T>` takes both.
 */
export type Storable<T> = object & { readonly [Key in keyof T]: StorablePart<T[Key]> };

type StorablePart<T> = T extends Value
  ? T
  : T extends (...parameters: never[]) => unknown
    ? never
    : T extends object
      ? Storable<T>
      : never;

const NULL = 0;
const FALSE = 1;
const TRUE = 2;
const UINT = 3;
const NEGATIVE = 4;
const FLOAT = 5;
const STRING = 6;
const BYTES = 7;
const BIGINT = 8;
const BIGINT_NEGATIVE = 9;
const DATE = 10;
const ARRAY = 11;
const OBJECT = 12;
const SMALL_INT = 0x40;
const SMALL_STRING = 0x80;
const SMALL_MAX = 63;
const DATE_MAX_MS = 8.64e15;

const HEX_PAIR = 16;

/**
 * Writes a value. Throws `TypeError` with the path of a part that is no value (`undefined`, functions, symbols, class
 * instances, holes in arrays, invalid dates, lone surrogates) and `LIMIT_EXCEEDED` for one too large or too deep, also
 * for one that contains itself. On a throw, what was written so far remains in the writer: the caller resets it.
 */
export function writeValue(writer: Writer, value: unknown): void {
  if (typeof value === "string") {
    writeText(writer, value, "");
    return;
  }
  const start = writer.length;
  writeNested(writer, value, "", 0);
  checkSize(writer.length - start);
}

function writeText(writer: Writer, text: string, path: string): void {
  if (text.length > VALUE_BYTES_MAX) checkSize(text.length);
  const start = writer.length;
  try {
    writer.shortString(text, SMALL_STRING, SMALL_MAX, STRING);
  } catch (cause) {
    throw new TypeError(`a lone surrogate cannot be stored${at(path)}`, { cause });
  }
  checkSize(writer.length - start);
}

function checkSize(bytes: number): void {
  if (bytes > VALUE_BYTES_MAX) throw new CrdtError("LIMIT_EXCEEDED", `a value has more than ${VALUE_BYTES_MAX} bytes`);
}

function at(path: string): string {
  return path === "" ? "" : ` (at ${path})`;
}

function writeNested(writer: Writer, value: unknown, path: string, depth: number): void {
  switch (typeof value) {
    case "string":
      writeText(writer, value, path);
      return;
    case "number":
      writeNumber(writer, value);
      return;
    case "boolean":
      writer.byte(value ? TRUE : FALSE);
      return;
    case "bigint":
      writeBigint(writer, value);
      return;
    case "object":
      writeObject(writer, value, path, depth);
      return;
    default:
      throw new TypeError(`${typeof value} cannot be stored${at(path)}`);
  }
}

function writeNumber(writer: Writer, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    writer.byte(FLOAT);
    // One bit pattern for NaN: a program can hold others.
    writer.float64(Number.isNaN(value) ? Number.NaN : value);
  } else if (value < 0) {
    writer.byte(NEGATIVE);
    writer.uint(-1 - value);
  } else if (value <= SMALL_MAX) {
    writer.byte(SMALL_INT + value);
  } else {
    writer.byte(UINT);
    writer.uint(value);
  }
}

function writeBigint(writer: Writer, value: bigint): void {
  const magnitude = value < 0n ? -1n - value : value;
  const hex = magnitude === 0n ? "" : magnitude.toString(HEX_PAIR);
  const digits = hex.length % 2 === 0 ? hex : `0${hex}`;
  const length = digits.length / 2;
  checkSize(length);
  writer.byte(value < 0n ? BIGINT_NEGATIVE : BIGINT);
  writer.uint(length);
  for (let index = length - 1; index >= 0; index--) {
    writer.byte(Number.parseInt(digits.slice(2 * index, 2 * index + 2), HEX_PAIR));
  }
}

function writeObject(writer: Writer, value: object | null, path: string, depth: number): void {
  if (value === null) {
    writer.byte(NULL);
    return;
  }
  if (value instanceof Uint8Array) {
    checkSize(value.length);
    writer.byte(BYTES);
    writer.bytes(value);
    return;
  }
  if (value instanceof Date) {
    const time = value.getTime();
    if (Number.isNaN(time)) throw new TypeError(`an invalid date cannot be stored${at(path)}`);
    writer.byte(DATE);
    writer.float64(time);
    return;
  }
  if (depth === VALUE_DEPTH_MAX) {
    throw new CrdtError("LIMIT_EXCEEDED", `a value has more than ${VALUE_DEPTH_MAX} levels, or contains itself`);
  }
  if (Array.isArray(value)) {
    writeArray(writer, value, path, depth);
    return;
  }
  writeRecord(writer, value, path, depth);
}

function writeArray(writer: Writer, items: readonly unknown[], path: string, depth: number): void {
  checkSize(items.length);
  writer.byte(ARRAY);
  writer.uint(items.length);
  for (let index = 0; index < items.length; index++) writeNested(writer, items[index], `${path}[${index}]`, depth + 1);
}

function writeRecord(writer: Writer, record: object, path: string, depth: number): void {
  const prototype: unknown = Object.getPrototypeOf(record);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(`an instance of ${nameOf(prototype)} cannot be stored${at(path)}`);
  }
  if (Object.getOwnPropertySymbols(record).length > 0) {
    throw new TypeError(`a symbol as a key cannot be stored${at(path)}`);
  }
  const entries: [string, unknown][] = Object.entries(record);
  writer.byte(OBJECT);
  writer.uint(entries.length);
  for (const [key, item] of entries) {
    const inner = `${path}.${key}`;
    if (!key.isWellFormed()) throw new TypeError(`a key with a lone surrogate cannot be stored${at(inner)}`);
    writer.string(key);
    writeNested(writer, item, inner, depth + 1);
  }
}

function nameOf(prototype: unknown): string {
  const name: unknown = (prototype as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === "string" && name !== "" ? name : "a class";
}

/** Reads a value, frozen throughout. Throws `MALFORMED`. */
export function readValue(reader: Reader): Value {
  const start = reader.at;
  const value = readNested(reader, 0);
  if (reader.at - start > VALUE_BYTES_MAX) throw malformed("a value is too large");
  return value;
}

function readNested(reader: Reader, depth: number): Value {
  const tag = reader.byte();
  if (tag >= SMALL_STRING) {
    if (tag > SMALL_STRING + SMALL_MAX) throw malformed(`no value begins with ${tag}`);
    return reader.stringOf(tag - SMALL_STRING);
  }
  if (tag >= SMALL_INT) return tag - SMALL_INT;
  switch (tag) {
    case NULL:
      return null;
    case FALSE:
      return false;
    case TRUE:
      return true;
    case UINT:
      return above(reader.uint(), SMALL_MAX);
    case NEGATIVE:
      return readNegative(reader);
    case FLOAT:
      return readFloat(reader);
    case STRING:
      return reader.stringOf(above(reader.uint(), SMALL_MAX));
    case BYTES:
      return reader.bytes().slice();
    case BIGINT:
      return readBigint(reader);
    case BIGINT_NEGATIVE:
      return -1n - readBigint(reader);
    case DATE:
      return readDate(reader);
    case ARRAY:
      return readArray(reader, depth);
    case OBJECT:
      return readRecord(reader, depth);
    default:
      throw malformed(`no value begins with ${tag}`);
  }
}

function above(value: number, limit: number): number {
  if (value <= limit) throw malformed("a value has a shorter encoding");
  return value;
}

function readNegative(reader: Reader): number {
  const value = -1 - reader.uint();
  if (!Number.isSafeInteger(value)) throw malformed("an integer is too large");
  return value;
}

function readFloat(reader: Reader): number {
  const value = reader.float64();
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) throw malformed("a value has a shorter encoding");
  return value;
}

function readBigint(reader: Reader): bigint {
  const bytes = reader.bytes();
  if (bytes.length === 0) return 0n;
  if (bytes.length > VALUE_BYTES_MAX) throw malformed("a value is too large");
  if (bytes[bytes.length - 1] === 0) throw malformed("a value has a shorter encoding");
  const digits: string[] = [];
  for (let index = bytes.length - 1; index >= 0; index--) {
    digits.push((bytes[index] ?? 0).toString(HEX_PAIR).padStart(2, "0"));
  }
  return BigInt(`0x${digits.join("")}`);
}

function readDate(reader: Reader): Date {
  const time = reader.float64();
  if (!Number.isInteger(time) || Math.abs(time) > DATE_MAX_MS || Object.is(time, -0)) throw malformed("not a date");
  return new Date(time);
}

function readArray(reader: Reader, depth: number): readonly Value[] {
  if (depth === VALUE_DEPTH_MAX) throw malformed("a value is nested too deeply");
  const count = reader.count();
  const items: Value[] = [];
  for (let index = 0; index < count; index++) items.push(readNested(reader, depth + 1));
  return Object.freeze(items);
}

function readRecord(reader: Reader, depth: number): { readonly [key: string]: Value } {
  if (depth === VALUE_DEPTH_MAX) throw malformed("a value is nested too deeply");
  const count = reader.count(2);
  const record: Record<string, Value> = {};
  for (let index = 0; index < count; index++) {
    const key = reader.string();
    if (Object.hasOwn(record, key)) throw malformed("an object has a key twice");
    const value = readNested(reader, depth + 1);
    if (key === "__proto__") {
      // An assignment would set the prototype instead of a property.
      Object.defineProperty(record, key, { value, enumerable: true, configurable: true, writable: true });
    } else {
      record[key] = value;
    }
  }
  return Object.freeze(record);
}
