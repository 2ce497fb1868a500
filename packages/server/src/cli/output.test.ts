import { expect, test } from "vitest";
import { counted, printable, table } from "./output.ts";

test("numbers and sizes stand to the right, the rest to the left", () => {
  const rows = [
    ["a", 5, "9 B", "2 days"],
    ["words/and", 12, "1.5 KiB", "never"],
  ];
  expect(table(["ID", "EVENTS", "STORED", "SEEN"], rows).split("\n")).toEqual([
    "ID         EVENTS   STORED  SEEN",
    "a               5      9 B  2 days",
    "words/and      12  1.5 KiB  never",
    "",
  ]);
});

test("a table may have very many rows", () => {
  expect(
    table(
      ["ID"],
      Array.from({ length: 200_000 }, () => ["a"]),
    ),
  ).toMatch(/^ID\na\n/);
});

test("what is counted has its plural", () => {
  expect([0, 1, 2, 100_000].map((count) => counted(count, "group"))).toEqual([
    "0 groups",
    "1 group",
    "2 groups",
    "100,000 groups",
  ]);
});

test("names from elsewhere neither steer the terminal nor read as another name", () => {
  expect(printable("a\n\u001b[2J")).toBe("a\\x0a\\x1b[2J");
  expect(printable("rtl/\u202Elive \u2067x")).toBe("rtl/\\u202elive \\u2067x");
  expect(printable("שלום/naïve")).toBe("שלום/naïve");
});
