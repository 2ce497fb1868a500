import { expect, test } from "vitest";
import { Places } from "./places.ts";
import { toProblem } from "./problem.ts";
import { RateLimiter, addressKey } from "./rate-limiter.ts";

test("lets a period's worth through at once, then one at a time", () => {
  let now = 1000;
  const limiter = new RateLimiter(10, 1000, () => now);
  const burst = Array.from({ length: 12 }, () => limiter.take("a"));
  expect(burst.map((wait) => wait === 0)).toEqual([...Array.from({ length: 10 }, () => true), false, false]);
  expect(burst.at(-1)).toBeCloseTo(100);
  expect(limiter.take("b")).toBe(0);
  now += 101;
  expect(limiter.take("a")).toBe(0);
  expect(limiter.take("a")).toBeGreaterThan(0);
  now += 10_000;
  expect(Array.from({ length: 11 }, () => limiter.take("a") === 0).filter(Boolean)).toHaveLength(10);
});

test("remembers a bounded number of keys, and those that are at their limit longest", () => {
  let now = 0;
  const limiter = new RateLimiter(1, 1000, () => now);
  for (let key = 0; key < 9999; key++) limiter.take(`rested ${key}`);
  now = 1500;
  expect(limiter.take("busy")).toBe(0);
  for (let key = 0; key < 5000; key++) limiter.take(`later ${key}`);
  expect(limiter.take("busy")).toBeGreaterThan(0);
});

test("says when to try again", () => {
  let now = 0;
  const limiter = new RateLimiter(2, 60_000, () => now);
  limiter.check("a", "tries");
  limiter.check("a", "tries");
  let thrown: unknown;
  try {
    limiter.check("a", "tries");
  } catch (error) {
    thrown = error;
  }
  expect(toProblem(thrown)).toMatchObject({ status: 429, code: "RATE_LIMITED", retryAfterSeconds: 30 });
  now = 30_000;
  limiter.check("a", "tries");
});

test("places are given back once each", () => {
  const places = new Places(2, "seats");
  const leave = places.take();
  places.take();
  expect(() => places.take()).toThrow("2 seats");
  leave();
  leave();
  expect(places.taken).toBe(1);
  places.take();
  expect(() => places.take()).toThrow("2 seats");
});

test.each([
  ["127.0.0.1", "127.0.0.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::1", "2001:db8:1:2"],
  ["2001:db8::1", "2001:db8:0:0"],
  ["::1", "0:0:0:0"],
  [undefined, ""],
])("the address %s counts as %s", (address, key) => {
  expect(addressKey(address)).toBe(key);
});
