import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeGroupKey,
  domainOf,
  encodeGroupId,
  encodeGroupPrefix,
  formatGroupId,
  type GroupId,
  parseGroupId,
} from "./group-id.ts";

const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 });
const groupId: fc.Arbitrary<GroupId> = fc.oneof(
  text,
  fc.array(fc.oneof(text, fc.maxSafeInteger(), fc.integer({ min: -300, max: 300 })), { minLength: 1, maxLength: 4 }),
);

/** The documented order, written naively. */
function compareIds(a: GroupId, b: GroupId): number {
  if (typeof a === "string" || typeof b === "string") {
    if (typeof a !== typeof b) return typeof a === "string" ? -1 : 1;
    return compareText(a as string, b as string);
  }
  for (const [index, left] of a.entries()) {
    const right = b[index];
    if (right === undefined) return 1;
    if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1;
    const order = typeof left === "number" ? left - (right as number) : compareText(left, right as string);
    if (order !== 0) return Math.sign(order);
  }
  return a.length === b.length ? 0 : -1;
}

function compareText(a: string, b: string): number {
  return Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

describe("group keys", () => {
  it("round-trip, are ASCII without spaces, and sort as the ids do", () => {
    fc.assert(
      fc.property(groupId, groupId, (a, b) => {
        const [left, right] = [encodeGroupId(a), encodeGroupId(b)];
        expect(decodeGroupKey(left)).toEqual(Array.isArray(a) ? a.map((part) => (part === 0 ? 0 : part)) : a);
        expect(left).toMatch(/^[!-~]+$/);
        expect(left < right ? -1 : left > right ? 1 : 0).toBe(compareIds(a, b));
        expect(right.startsWith(left)).toBe(left === right);
      }),
      { numRuns: 2000 },
    );
  });

  it("tell a string from a tuple of it, and a number from its digits", () => {
    const keys = ["a", ["a"], ["a", "b"], ["ab"], "ab", [1], ["1"], "1", [-1], [10], ["a!b"], ["a", "!b"]].map((id) =>
      encodeGroupId(id as GroupId),
    );
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("refuse what is no id", () => {
    const long = "x".repeat(511);
    const bad = ["", [], [""], ["a", ""], ["\ud800"], "a\udc00", [1.5], [2 ** 53], [Number.NaN], [null], 7, null, long];
    for (const id of bad) {
      expect(() => encodeGroupId(id as GroupId)).toThrow(expect.objectContaining({ code: "INVALID_GROUP_ID" }));
    }
    expect(encodeGroupId("x".repeat(510))).toHaveLength(512);
  });

  it("are the only keys that decode", () => {
    for (const key of [
      "",
      "!",
      "s!",
      "sa",
      "t!",
      "tsa!",
      'sa"zz!',
      'sa"41!',
      "tip0!",
      "tip0001!",
      "u!",
      "tsa!!!",
      "s~c3!",
    ]) {
      expect(() => decodeGroupKey(key)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    }
    fc.assert(
      fc.property(fc.string(), (key) => {
        let outcome: unknown;
        try {
          outcome = encodeGroupId(decodeGroupKey(key));
        } catch (error) {
          outcome = (error as { code?: unknown }).code;
        }
        expect([key, "CORRUPT"]).toContain(outcome);
      }),
    );
  });

  it("start with the prefix of exactly the matching ids", () => {
    const starts = (id: GroupId, prefix: GroupId): boolean => encodeGroupId(id).startsWith(encodeGroupPrefix(prefix));
    expect(starts(["a", "b"], ["a"])).toBe(true);
    expect(starts(["a"], ["a"])).toBe(true);
    expect(starts(["ab"], ["a"])).toBe(false);
    expect(starts("a", ["a"])).toBe(false);
    expect(starts(["a", 1, 2], ["a", 1])).toBe(true);
    expect(starts(["a", 16], ["a", 1])).toBe(false);
    expect(starts(["a"], [])).toBe(true);
    expect(starts("abc", "ab")).toBe(true);
    expect(starts("abc", "")).toBe(true);
    expect(starts(["abc"], "ab")).toBe(false);
  });
});

describe("the text form", () => {
  it("round-trips", () => {
    fc.assert(
      fc.property(groupId, (id) => {
        const read = parseGroupId(formatGroupId(id));
        expect(encodeGroupId(read)).toBe(encodeGroupId(id));
      }),
      { numRuns: 2000 },
    );
  });

  it("is what people would write", () => {
    expect(formatGroupId(["words", "a"])).toBe("words/a");
    expect(formatGroupId("words")).toBe("words");
    expect(formatGroupId(["words"])).toBe("words/");
    expect(formatGroupId(["n", 7, -1, ":7"])).toBe("n/:7/:-1/%3A7");
    expect(formatGroupId("a/b 100%")).toBe("a%2Fb%20100%25");
    expect(parseGroupId("words/ä")).toEqual(["words", "ä"]);
  });

  it("is refused when it names nothing", () => {
    for (const bad of ["", "/", "a//b", "a/b/", "a/:", "a/:1.5", "a/:01", "a/:9007199254740992", "%", "%ff"]) {
      expect(() => parseGroupId(bad)).toThrow(expect.objectContaining({ code: "INVALID_GROUP_ID" }));
    }
  });
});

it("the domain is the first element of a tuple when that is a string", () => {
  expect([domainOf(["a", "b"]), domainOf(["a"]), domainOf("a"), domainOf([1, "a"])]).toEqual(["a", "a", "", ""]);
});
