import { expect, test } from "vitest";
import { fromJson, toJson } from "./wire-json.ts";

test.each([
  ["null", null, null],
  ["text", "a", "a"],
  ["a number", 1.5, 1.5],
  ["an object", { a: [1, { b: true }] }, { a: [1, { b: true }] }],
  ["a bigint", 12345678901234567890n, { $bigint: "12345678901234567890" }],
  ["a negative bigint", -1n, { $bigint: "-1" }],
  ["a date", new Date(0), { $date: "1970-01-01T00:00:00.000Z" }],
  ["bytes", new Uint8Array([0, 255, 7]), { $bytes: "AP8H" }],
  ["NaN", Number.NaN, { $number: "NaN" }],
  ["-Infinity", Number.NEGATIVE_INFINITY, { $number: "-Infinity" }],
  ["negative zero", -0, { $number: "-0" }],
  ["what looks like a form", { $bigint: "1" }, { $object: { $bigint: "1" } }],
  [
    "what looks like an escape",
    { $object: { $x: 1n } },
    { $object: { $object: { $object: { $x: { $bigint: "1" } } } } },
  ],
  ["nested", { a: [1n, { b: Number.NaN }] }, { a: [{ $bigint: "1" }, { b: { $number: "NaN" } }] }],
])("%s goes there and back", (_name, value, json) => {
  expect(toJson(value)).toEqual(json);
  expect(fromJson(JSON.parse(JSON.stringify(toJson(value))))).toEqual(value);
});

test("plain JSON is passed on as it is", () => {
  const value = { a: [1, 2, { b: "c" }] };
  expect(toJson(value)).toBe(value);
});

test("no value at all is null", () => {
  expect(toJson(undefined)).toBeNull();
});

test("a key __proto__ stays a key", () => {
  const value = JSON.parse('{"__proto__": {"$bigint": "1"}, "a": 1}') as object;
  const read = fromJson(value) as object;
  expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  expect(Object.keys(read)).toEqual(["__proto__", "a"]);
  expect(Object.keys(toJson(read) as object)).toEqual(["__proto__", "a"]);
});

test.each([
  [{ $bigint: "1.5" }],
  [{ $date: "never" }],
  [{ $bytes: "?" }],
  [{ $number: "1" }],
  [{ $nothing: 1 }],
  [{ $object: [] }],
])("%j is refused", (json) => {
  expect(() => fromJson(json)).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }));
});

test("deep nesting is refused before the stack ends", () => {
  const json = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`) as unknown;
  expect(() => fromJson(json)).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }));
});
