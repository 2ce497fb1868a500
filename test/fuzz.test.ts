import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Random } from "./simulation/random.ts";
import { Mutator } from "./fuzz/mutate.ts";
import { Broken, accept, isNamed, mustBeBounded, mustBePlain, weigh } from "./fuzz/target.ts";

const main = fileURLToPath(new URL("dist/fuzz/main.js", import.meta.url));

function fuzz(...args: string[]): string {
  return execFileSync(process.execPath, [main, ...args], { encoding: "utf8", maxBuffer: 1 << 24 });
}

describe("fuzzing", () => {
  test("every decoder holds for what is kept of earlier campaigns, and for some new inputs", () => {
    const output = fuzz("--inputs", "100000", "--seconds", "20", "--seed", "1", "--blind");
    expect(output).toContain(" 0 findings");
    for (const target of fuzz("--list").trim().split("\n")) expect(output).toContain(target);
  }, 300_000);

  test("the same seed makes the same changes", () => {
    const pool = [Uint8Array.of(1, 2, 3), new Uint8Array(40).fill(7)];
    const series = (seed: number): string[] => {
      const mutator = new Mutator(new Random(seed, "test"), pool, 4096);
      return Array.from({ length: 50 }, (_, index) =>
        mutator.mutate(pool[index % 2] ?? pool[0] ?? new Uint8Array(0)).join(),
      );
    };
    expect(series(5)).toEqual(series(5));
    expect(series(5)).not.toEqual(series(6));
  });

  test("what an oracle looks for is found", () => {
    const typed = isNamed("RangeError");
    expect(accept(() => 5, typed)).toBe(5);
    expect(
      accept(() => {
        throw new RangeError("refused");
      }, typed),
    ).toBeUndefined();
    expect(() =>
      accept(() => {
        throw new TypeError("a mistake");
      }, typed),
    ).toThrow(TypeError);
    expect(weigh({ a: [1, "xy"] })).toBeGreaterThan(weigh([1]));
    expect(() =>
      mustBeBounded(
        Array.from({ length: 10_000 }, () => 1),
        new Uint8Array(10),
      ),
    ).toThrow(Broken);
    expect(() => mustBePlain(Object.create({ injected: true }))).toThrow(/prototype/);
  });
});
