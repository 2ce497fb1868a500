import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const plant = (...args: string[]): string =>
  execFileSync(process.execPath, ["packages/crdt/scripts/planted-bugs.mjs", ...args], { cwd: root, encoding: "utf8" });

describe("planted bugs of the CRDT package", () => {
  test("there are at least thirty, and the code has the place of each", () => {
    const [count] = plant("--places").split(" ");
    expect(Number(count)).toBeGreaterThanOrEqual(30);
  });

  test("two of them are caught by the tests, which pass without them", () => {
    expect(plant("tree: no")).toContain("2 of 2 planted bugs caught");
  }, 120_000);
});
