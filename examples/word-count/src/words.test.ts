import { expect, test } from "vitest";
import { WORD_CHARACTERS_MAX, words } from "./words.ts";

test.each([
  ["Don't PANIC, Ford's towel!", ["don't", "panic", "ford's", "towel"]],
  ["it’s 'quoted' — and ''", ["it's", "quoted", "and"]],
  ["Größe Ελλάς हिन्दी 42nd", ["größe", "ελλάς", "हिन्दी", "42nd"]],
  ["snake_case a-b x.y", ["snake", "case", "a", "b", "x", "y"]],
  ["", []],
])("the words of %j", (text, expected) => {
  expect([...words(text)]).toEqual(expected);
});

test("of a very long run only the beginning counts", () => {
  expect([...words(`${"ä".repeat(1000)} b`)]).toEqual(["ä".repeat(WORD_CHARACTERS_MAX), "b"]);
  expect([...words("𝒳".repeat(1000))]).toEqual(["𝒳".repeat(WORD_CHARACTERS_MAX)]);
});
