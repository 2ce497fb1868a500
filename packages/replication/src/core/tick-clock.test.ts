import { expect, it } from "vitest";
import { TickClock } from "./tick-clock.ts";

it("reads the wall clock for every look between ticks, and for every 32nd within one", () => {
  let wall = 0;
  const clock = new TickClock(() => ++wall);
  expect([clock.now(), clock.now()]).toEqual([1, 2]);
  clock.begin();
  const looks = Array.from({ length: 65 }, () => clock.now());
  expect(looks).toEqual([...Array(32).fill(3), ...Array(32).fill(4), 5]);
  clock.end();
  expect([clock.now(), clock.now()]).toEqual([6, 7]);
});
