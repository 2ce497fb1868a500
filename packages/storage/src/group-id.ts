/**
 * Group ids, their keys and their text form.
 *
 * A key is ASCII (0x21 to 0x7e), injective, prefix-free, and sorts as the ids do: strings before tuples; tuples by
 * element, a shorter one before its extensions; integers before strings; strings by code point.
 *
 * | part            | key                                                                              |
 * |-----------------|----------------------------------------------------------------------------------|
 * | string id       | `s`, text, `!`                                                                   |
 * | tuple id        | `t`, elements, `!`                                                               |
 * | string element  | `s`, text, `!`                                                                   |
 * | integer element | `ip`, uint for n >= 0; `in`, the uint of -n with each digit d as 15 - d otherwise |
 * | text            | UTF-8 bytes: 0x23 to 0x7d as they are, lower as `"` + 2 hex, higher as `~` + 2 hex |
 * | uint            | number of hex digits as one hex digit, then the digits (lower case)              |
 */
import { StorageError } from "./error.ts";

/** A group's name: a string, or a non-empty tuple of strings and safe integers. `"a"` and `["a"]` are two groups. */
export type GroupId = string | readonly (string | number)[];

/** Longest key of a group id, in bytes. */
export const GROUP_KEY_BYTES_MAX = 512;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const PLAIN = /^[#-}]*$/;
const HEX = "0123456789abcdef";
const HEX_BYTE = /^[0-9a-f]{2}$/;

/**
 * The key of a group id. Throws `INVALID_GROUP_ID` for an empty string or tuple, an empty string element, a lone
 * surrogate, a number that is no safe integer, and a key above {@link GROUP_KEY_BYTES_MAX} bytes.
 */
export function encodeGroupId(id: GroupId): string {
  const key = `${encodeUnfinished(id, false)}!`;
  if (key.length > GROUP_KEY_BYTES_MAX) {
    throw invalid(`its key has ${key.length} bytes, the limit is ${GROUP_KEY_BYTES_MAX}`);
  }
  return key;
}

/**
 * What the keys of all matching ids start with. A tuple matches itself and every tuple that begins with its elements;
 * `[]` matches every tuple. A string matches the string ids that start with it; `""` matches every string id.
 * Throws `INVALID_GROUP_ID` as {@link encodeGroupId} does.
 */
export function encodeGroupPrefix(prefix: GroupId): string {
  return encodeUnfinished(prefix, true);
}

let lastDomain: string | number = "";

/** Reads a key. Throws `CORRUPT` for anything that {@link encodeGroupId} does not make. */
export function decodeGroupKey(key: string): GroupId {
  const end = key.length - 1;
  if (key.length > GROUP_KEY_BYTES_MAX || key.charAt(end) !== "!") throw badKey(key);
  if (key.startsWith("s")) return decodeText(key, 1, end);
  if (!key.startsWith("t") || end === 1) throw badKey(key);
  const elements: (string | number)[] = [];
  let at = 1;
  while (at < end) {
    if (key.charAt(at) === "s") {
      const stop = key.indexOf("!", at);
      elements.push(decodeText(key, at + 1, stop));
      at = stop + 1;
    } else {
      const { value, end: stop } = decodeInteger(key, at);
      elements.push(value);
      at = stop;
    }
  }
  if (at !== end) throw badKey(key);
  // Ids are kept: those of one domain share its name, and an array that was pushed to has room for sixteen more.
  const [domain = ""] = elements;
  if (domain === lastDomain) elements[0] = lastDomain;
  else lastDomain = domain;
  return elements.slice();
}

/** Throws `INVALID_GROUP_ID` as {@link encodeGroupId} does. */
export function checkGroupId(id: GroupId): void {
  encodeGroupId(id);
}

/** The domain of a group: the first element of a tuple when it is a string, otherwise `""`, the default domain. */
export function domainOf(id: GroupId): string {
  const first = typeof id === "string" ? undefined : id[0];
  return typeof first === "string" ? first : "";
}

/** What the keys of the groups of a domain start with, one or the other; no other key does. In order. */
export function encodeDomainPrefixes(domain: string): readonly string[] {
  return domain === "" ? ["s", "ti"] : [encodeGroupPrefix([domain])];
}

/** An unsigned safe integer as a key part: self-delimiting, sorts as the numbers do. */
export function encodeUint(value: number): string {
  const digits = value.toString(16);
  return HEX.charAt(digits.length) + digits;
}

/** Reads an {@link encodeUint} at `at`: the value and where it ends. Throws `CORRUPT`. */
export function decodeUint(key: string, at: number): { value: number; end: number } {
  const end = at + 1 + HEX.indexOf(key.charAt(at) || "?");
  const value = Number.parseInt(key.slice(at + 1, end), 16);
  if (end <= at + 1 || !Number.isSafeInteger(value) || encodeUint(value) !== key.slice(at, end)) {
    throw new StorageError("CORRUPT", `not a number in a key: ${JSON.stringify(key.slice(at))}`);
  }
  return { value, end };
}

/**
 * A group id for people, command lines and URLs: the elements of a tuple joined by `/` (one element: `name/`),
 * integers as `:7`. Within a string, `%`, `/`, `?`, `#`, spaces, control characters and a leading `:` are
 * percent-encoded. {@link parseGroupId} reads it back exactly.
 */
export function formatGroupId(id: GroupId): string {
  if (typeof id === "string") return formatText(id);
  const parts = id.map((element) => (typeof element === "number" ? `:${element + 0}` : formatText(element)));
  return parts.length === 1 ? `${parts[0]}/` : parts.join("/");
}

/** Reads {@link formatGroupId}'s text. Throws `INVALID_GROUP_ID` for anything that names no group. */
export function parseGroupId(text: string): GroupId {
  const parts = text.split("/");
  let id: GroupId;
  if (parts.length === 1) id = parseText(text);
  else {
    if (parts.length === 2 && parts[1] === "") parts.pop();
    id = parts.map((part) => (part.startsWith(":") ? parseInteger(part) : parseText(part)));
  }
  checkGroupId(id);
  return id;
}

function encodeUnfinished(id: GroupId, prefix: boolean): string {
  if (typeof id === "string") return `s${encodeText(id, prefix)}`;
  if (!Array.isArray(id)) throw invalid("it is neither a string nor a tuple");
  if (id.length === 0 && !prefix) throw invalid("it is an empty tuple");
  let key = "t";
  for (const element of id as readonly unknown[]) {
    if (typeof element === "string") key += `s${encodeText(element, false)}!`;
    else if (typeof element === "number") key += encodeInteger(element);
    else throw invalid(`a tuple holds strings and safe integers, not ${typeof element}`);
  }
  return key;
}

function encodeInteger(value: number): string {
  if (!Number.isSafeInteger(value)) throw invalid(`${value} is no safe integer`);
  if (value >= 0) return `ip${encodeUint(value)}`;
  return `in${complement(encodeUint(-value))}`;
}

function complement(digits: string): string {
  return Array.from(digits, (digit) => HEX.charAt(15 - HEX.indexOf(digit))).join("");
}

function encodeText(text: string, emptyAllowed: boolean): string {
  if (text === "" && !emptyAllowed) throw invalid("a string in it is empty");
  if (PLAIN.test(text)) return text;
  if (!text.isWellFormed()) throw invalid("a string in it has a lone surrogate");
  let key = "";
  for (const byte of textEncoder.encode(text)) {
    if (byte > 0x22 && byte < 0x7e) key += String.fromCharCode(byte);
    else key += (byte < 0x7e ? '"' : "~") + byte.toString(16).padStart(2, "0");
  }
  return key;
}

function decodeInteger(key: string, at: number): { value: number; end: number } {
  const sign = key.slice(at, at + 2);
  if (sign === "ip") return decodeUint(key, at + 2);
  if (sign !== "in") throw badKey(key);
  const end = at + 3 + 15 - HEX.indexOf(key.charAt(at + 2));
  const digits = complement(key.slice(at + 2, end));
  const { value, end: length } = decodeUint(digits, 0);
  // There is no negative zero, and every digit must be one.
  if (value === 0 || length !== end - at - 2 || complement(digits) !== key.slice(at + 2, end)) throw badKey(key);
  return { value: -value, end };
}

function decodeText(key: string, start: number, end: number): string {
  const text = key.slice(start, end);
  if (text === "") throw badKey(key);
  if (PLAIN.test(text)) return text;
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at);
    if (char !== '"' && char !== "~") {
      if (char < "#" || char > "}") throw badKey(key);
      bytes.push(text.charCodeAt(at));
      continue;
    }
    const digits = text.slice(at + 1, at + 3);
    const byte = HEX_BYTE.test(digits) ? Number.parseInt(digits, 16) : -1;
    if (char === '"' ? byte < 0 || byte > 0x22 : byte < 0x7e) throw badKey(key);
    bytes.push(byte);
    at += 2;
  }
  try {
    return textDecoder.decode(Uint8Array.from(bytes));
  } catch (cause) {
    throw badKey(key, cause);
  }
}

function badKey(key: string, cause?: unknown): StorageError {
  const options = cause === undefined ? undefined : { cause };
  return new StorageError("CORRUPT", `not the key of a group: ${JSON.stringify(key)}`, options);
}

function formatText(text: string): string {
  // encodeURIComponent of one character only: it is applied to what would be ambiguous, the rest stays readable.
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[%/?#\s\u0000-\u001f\u007f]|^:/g, (char) => (char === ":" ? "%3A" : encodeURIComponent(char)));
}

function parseText(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw invalid(`${JSON.stringify(text)} has a "%" that is no percent-encoding`, cause);
  }
}

function parseInteger(part: string): number {
  if (!/^:(0|-?[1-9]\d*)$/.test(part)) throw invalid(`${JSON.stringify(part)} is no integer`);
  return Number(part.slice(1));
}

function invalid(reason: string, cause?: unknown): StorageError {
  const options = cause === undefined ? undefined : { cause };
  return new StorageError("INVALID_GROUP_ID", `not a group id: ${reason}`, options);
}
