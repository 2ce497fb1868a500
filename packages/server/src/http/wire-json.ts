/**
 * User values as JSON, exactly. What JSON lacks is an object with one key that begins with `$`:
 *
 * | value                     | JSON                                   |
 * |---------------------------|----------------------------------------|
 * | bigint                    | `{"$bigint": "123"}`                   |
 * | Date                      | `{"$date": "2026-01-31T00:00:00.000Z"}` |
 * | Uint8Array                | `{"$bytes": "base64"}`                 |
 * | NaN, ±Infinity, -0        | `{"$number": "NaN"}`                   |
 * | undefined                 | `{"$undefined": true}` inside of a value, `null` at its top |
 * | an object that looks so   | `{"$object": {…}}`                     |
 */
import { ReplicationError } from "@coppice/replication";
import { ServerError } from "../error.ts";

/** Most levels of arrays and objects within each other that a request may have. */
const DEPTH_MAX = 128;

/** The JSON form of a value. Returns the value itself when it is plain JSON already. */
export function toJson(value: unknown): unknown {
  return value === undefined ? null : encode(value);
}

/**
 * What writes or sends a value as JSON. Documents may be nested deeper than the stack goes, or longer than a text may be:
 * then `LIMIT_EXCEEDED`.
 */
export function writingJson<R>(write: () => R): R {
  try {
    return write();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ReplicationError("LIMIT_EXCEEDED", "the value is too deep or too long for JSON", { cause });
  }
}

function encode(value: unknown): unknown {
  switch (typeof value) {
    case "bigint":
      return { $bigint: value.toString() };
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { $number: Object.is(value, -0) ? "-0" : String(value) };
    case "undefined":
      return { $undefined: true };
    case "object":
      return value === null ? null : encodeObject(value);
    default:
      return value;
  }
}

function encodeObject(value: object): unknown {
  if (value instanceof Date) return { $date: value.toISOString() };
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) {
    const items = value.map(encode);
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  const entries = Object.entries(value);
  let changed = false;
  const encoded = entries.map(([key, item]): [string, unknown] => {
    const json = encode(item);
    changed ||= json !== item;
    return [key, json];
  });
  // `fromEntries` defines properties, so a key "__proto__" stays a key.
  const record: unknown = changed ? Object.fromEntries(encoded) : value;
  return entries.length === 1 && entries[0]?.[0].startsWith("$") === true ? { $object: record } : record;
}

/** The value of a JSON form. Throws `INVALID_REQUEST` for an unknown or malformed `$` form and for deep nesting. */
export function fromJson(json: unknown, depth = 0): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (depth === DEPTH_MAX) throw invalid(`a value has more than ${DEPTH_MAX} levels`);
  if (Array.isArray(json)) return json.map((item) => fromJson(item, depth + 1));
  const entries = Object.entries(json);
  const [first] = entries;
  if (entries.length === 1 && first?.[0].startsWith("$") === true) return decodeTagged(first[0], first[1], depth);
  return decodeRecord(json, depth);
}

function decodeRecord(json: object, depth: number): unknown {
  return Object.fromEntries(Object.entries(json).map(([key, item]) => [key, fromJson(item, depth + 1)]));
}

function decodeTagged(tag: string, content: unknown, depth: number): unknown {
  if (tag === "$object" && typeof content === "object" && content !== null && !Array.isArray(content)) {
    return decodeRecord(content, depth + 1);
  }
  if (tag === "$undefined" && content === true) return undefined;
  if (typeof content === "string") {
    if (tag === "$bigint" && /^-?\d{1,10000}$/.test(content)) return BigInt(content);
    if (tag === "$date" && !Number.isNaN(Date.parse(content))) return new Date(content);
    if (tag === "$bytes" && isBase64(content)) return new Uint8Array(Buffer.from(content, "base64"));
    if (tag === "$number" && /^(NaN|-?Infinity|-0)$/.test(content)) return Number(content);
  }
  throw invalid(`${JSON.stringify({ [tag]: content }).slice(0, 80)} is no value: see "Values as JSON" in docs/http.md`);
}

function isBase64(text: string): boolean {
  return Buffer.from(text, "base64").toString("base64") === text;
}

function invalid(reason: string): ServerError {
  return new ServerError("INVALID_REQUEST", reason);
}
