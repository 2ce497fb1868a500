import { expect, test } from "vitest";
import { didYouMean } from "./suggest.ts";

test.each([
  ["incremnet", ' Did you mean "increment"?'],
  ["increments", ' Did you mean "increment"?'],
  ["sett", ' Did you mean "set"?'],
  ["delete everything", ""],
  ["x", ""],
  ["get", ""],
  ["st", ' Did you mean "set"?'],
])("%s", (name, suggestion) => {
  expect(didYouMean(name, ["set", "increment", "clear"])).toBe(suggestion);
});

test("nothing to suggest", () => {
  expect(didYouMean("a", [])).toBe("");
  expect(didYouMean("a".repeat(1000), ["a".repeat(999)])).toBe("");
});
