import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { PLANTED_BUGS } from "./planted-bugs/bugs.ts";
import { plant } from "./planted-bugs/loader.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

describe("planted bugs", () => {
  test("there are at least thirty, each under a name of its own", () => {
    expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
    expect(PLANTED_BUGS.length).toBeGreaterThanOrEqual(30);
  });

  test.each(PLANTED_BUGS)('the place of "$name" is in the built code once', (bug) => {
    const text = readFileSync(`${root}/packages/${bug.file}`, "utf8");
    expect(plant(text, bug)).not.toBe(text);
  });

  test("the simulation notices one of them in a few seeds, and passes those seeds without it", () => {
    const node = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" });
    const planted = node("test/dist/planted-bugs/main.js", "--only", "the clock may stand still", "--seeds", "5");
    expect(planted).toContain("1 of 1 planted bugs noticed");
    expect(node("test/dist/simulation/main.js", "--seeds", "5")).toContain("5 of 5 seeds, 0 violations");
  });
});
