import { describe, expect, it } from "vitest";
import { LogEnds } from "./log-ends.ts";

describe("the ends of logs", () => {
  it("are what a Map would hold, however many there are and whatever was done to them", () => {
    const [ends, model] = [new LogEnds(), new Map<string, number>()];
    let state = 1;
    for (let step = 0; step < 40_000; step++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const log = `tswords!sgroup-${(state >>> 8) % 9000}!!11`;
      const last = state % 5 === 0 ? -1 : state % 1000;
      ends.set(log, last);
      if (last < 0) model.delete(log);
      else model.set(log, last);
    }
    for (let index = 0; index < 9000; index++) {
      const log = `tswords!sgroup-${index}!!11`;
      expect(ends.get(log)).toBe(model.get(log) ?? -1);
    }
  });

  it("may be at 0, and far beyond 32 bits", () => {
    const ends = new LogEnds();
    ends.set("a", 0);
    ends.set("b", 2 ** 45);
    expect([ends.get("a"), ends.get("b"), ends.get("c")]).toEqual([0, 2 ** 45, -1]);
  });
});
