import { type Actor, parseActor } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import { PeerMeter } from "./peer-meter.ts";

const actor = (digit: number): Actor => parseActor(String(digit).repeat(32));

describe("a peer's meter", () => {
  const rates = { eventsPerSecondMax: 100, newActorsPerMinuteMax: 3 };

  it("takes a second's worth at once, then as fast as the rate", () => {
    const meter = new PeerMeter(rates);
    expect(meter.judge(100, undefined, 0)).toBe("take");
    expect(meter.judge(1, undefined, 0)).toBe("later");
    expect(meter.judge(10, undefined, 99)).toBe("later");
    expect(meter.judge(10, undefined, 200)).toBe("take");
  });

  it("lets a batch larger than a second's worth through, once", () => {
    const meter = new PeerMeter(rates);
    expect(meter.judge(5000, undefined, 0)).toBe("take");
    expect(meter.judge(1, undefined, 10_000)).toBe("later");
    expect(meter.judge(1, undefined, 60_000)).toBe("take");
  });

  it("counts new actors a minute", () => {
    const meter = new PeerMeter(rates);
    expect([0, 1, 2, 3].map((digit) => meter.judge(1, actor(digit), 0))).toEqual(["take", "take", "take", "later"]);
    expect(meter.judge(1, actor(4), 20_001)).toBe("take");
  });

  it("counts an actor once, however many groups it wrote in", () => {
    const meter = new PeerMeter(rates);
    for (let group = 0; group < 50; group++) expect(meter.judge(1, actor(0), 0)).toBe("take");
  });

  it("calls it abuse when a minute's worth was ignored", () => {
    const meter = new PeerMeter(rates);
    meter.judge(100, undefined, 0);
    const verdicts = Array.from({ length: 100 }, () => meter.judge(100, undefined, 0));
    expect(verdicts.indexOf("abuse")).toBe(60);
  });

  it("calls a steady flood abuse, though a part of it is taken, and a peer somewhat too fast never", () => {
    const steady = (each: number): string[] => {
      const meter = new PeerMeter(rates);
      return Array.from({ length: 6000 }, (_, index) => meter.judge(each, undefined, 50 * index));
    };
    expect(steady(100)).toContain("abuse");
    expect(steady(15)).not.toContain("abuse");
  });
});
