import { expect, test } from "vitest";
import { describeDifferences, differences } from "./compare.ts";
import { letterOf, letters } from "./groups.ts";
import { quantile } from "./report.ts";

test("differences lists every word that is counted differently", () => {
  const expected = new Map([
    ["same", 1],
    ["more", 1],
    ["missing", 2],
  ]);
  const actual = new Map([
    ["same", 1],
    ["more", 2],
    ["surplus", 1],
  ]);
  const found = differences(expected, actual);
  expect(found).toEqual([
    { word: "more", expected: 1, actual: 2 },
    { word: "missing", expected: 2, actual: 0 },
    { word: "surplus", expected: 0, actual: 1 },
  ]);
  expect(differences(expected, expected)).toEqual([]);
  expect(describeDifferences(found, 1)).toBe('  "more": 2 instead of 1\n  ... and 2 more words');
});

test("every word has a letter group", () => {
  expect(["apple", "école", "42nd", "中文", "ß"].map(letterOf)).toEqual(["a", "e", "digit", "other", "other"]);
  expect(letters).toContain(letterOf("zebra"));
});

test("quantile picks a sample", () => {
  const samples = [5, 1, 4, 2, 3];
  expect([0, 0.5, 0.99].map((part) => quantile(samples, part))).toEqual([1, 3, 5]);
  expect(quantile([], 0.5)).toBeNaN();
});
