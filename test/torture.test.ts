import { execFileSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "./support/temporary.ts";
import { type GroupState, check } from "./torture/checker.ts";
import { type Kind, Ledger, type Level, type Wish, type Write, readLedgers } from "./torture/ledger.ts";

const main = fileURLToPath(new URL("dist/torture/main.js", import.meta.url));

function write(wish: Wish, level: Level | undefined): Write {
  return { chapter: 1, process: "n0.1", wish, level };
}

const EMPTY: Readonly<Record<Kind, unknown>> = {
  map: {},
  total: 0,
  words: {},
  book: { entries: {}, count: 0 },
  set: [],
  log: [],
};

function nodes(...values: readonly Partial<Record<Kind, unknown>>[]): Map<string, Map<Kind, GroupState>> {
  return new Map(
    values.map((own, index) => {
      const all = Object.entries({ ...EMPTY, ...own }) as [Kind, unknown][];
      return [`n${index}`, new Map(all.map(([kind, value]) => [kind, { digest: "d", contentHash: "h", value }]))];
    }),
  );
}

function problemsOf(writes: readonly Write[], ...values: readonly Partial<Record<Kind, unknown>>[]): readonly string[] {
  return check(writes, nodes(...values)).problems;
}

describe("the checker of the torture", () => {
  const key = { kind: "map", key: "a" } as const;

  test("misses what was acknowledged to last, and nothing else", () => {
    expect(problemsOf([write(key, "log")], {})).toEqual([expect.stringMatching(/map: a, acknowledged .* is lost/)]);
    expect(problemsOf([write(key, "memory"), write(key, undefined), write(key, "replica")], {})).toEqual([]);
    expect(problemsOf([write(key, "sync")], { map: { a: "a" } })).toEqual([]);
  });

  test("sees what nobody wrote, or wrote otherwise", () => {
    expect(problemsOf([], { map: { x: "x" } })).toEqual(["map: nobody wrote x"]);
    expect(problemsOf([write(key, "log")], { map: { a: "b" } })).toEqual(['map: a reads "b"']);
    expect(problemsOf([write({ kind: "log", key: "a" }, "log")], { log: ["a", "a"] })).toHaveLength(1);
  });

  test("knows within what counters must be", () => {
    const writes = [write({ kind: "total", amount: 5 }, "log"), write({ kind: "total", amount: 2 }, undefined)];
    expect([4, 5, 7, 8].map((total) => problemsOf(writes, { total }).length)).toEqual([1, 0, 0, 1]);
  });

  test("sees a batch of which a part is missing, and an element that came back", () => {
    const entry = write({ kind: "book", key: "e" }, "log");
    expect(problemsOf([entry], { book: { entries: { e: "e" }, count: 0 } })).toHaveLength(1);
    const added = write({ kind: "set", key: "s", remove: false }, "log");
    const removed = write({ kind: "set", key: "s", remove: true }, "log");
    expect(problemsOf([added, removed], { set: ["s"] })).toEqual(["set: s is back again"]);
    expect(problemsOf([added, removed], { set: [] })).toEqual([]);
    expect(problemsOf([added], { set: [] })).toHaveLength(1);
  });

  test("sees nodes that differ", () => {
    expect(problemsOf([], { total: 0 }, { total: 1 })).toEqual([
      expect.stringMatching(/the value of n0 and n1 differ/),
    ]);
  });

  test("reads ledgers of processes that were killed", () => {
    const folder = temporaryDirectory("ledger");
    const ledger = new Ledger(join(folder, "n0.1"));
    ledger.acknowledged(ledger.wish(1, key), "sync");
    ledger.wish(1, { kind: "total", amount: 3 });
    ledger.wish(2, { kind: "total", amount: 4 });
    ledger.close();
    appendFileSync(join(folder, "n0.1"), "");
    expect(readLedgers(folder, 1)).toEqual([write(key, "sync"), write({ kind: "total", amount: 3 }, undefined)]);
  });
});

test("two nodes that are killed again and again lose nothing", () => {
  const args = ["--rounds", "6", "--chapter", "6", "--nodes", "2", "--profile", "kill", "--seconds", "60"];
  const output = execFileSync(process.execPath, [main, ...args], { encoding: "utf8" });
  expect(output).toMatch(/ 0 problems\n$/);
}, 300_000);
