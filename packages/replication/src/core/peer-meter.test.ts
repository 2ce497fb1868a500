import { describe, expect, it } from "vitest";
import { PeerMeter } from "./peer-meter.ts";

describe("a peer's meter", () => {
  const rates = { eventsPerSecondMax: 100, newActorsPerMinuteMax: 3 };

  it("takes a second's worth at once, then as fast as the rate", () => {
    const meter = new PeerMeter(rates);
    expect(meter.judge(100, false, 0)).toBe("take");
    expect(meter.judge(1, false, 0)).toBe("later");
    expect(meter.judge(10, false, 99)).toBe("later");
    expect(meter.judge(10, false, 200)).toBe("take");
  });

  it("lets a batch larger than a second's worth through, once", () => {
    const meter = new PeerMeter(rates);
    expect(meter.judge(5000, false, 0)).toBe("take");
    expect(meter.judge(1, false, 10_000)).toBe("later");
    expect(meter.judge(1, false, 60_000)).toBe("take");
  });

  it("counts new actors a minute", () => {
    const meter = new PeerMeter(rates);
    expect([0, 1, 2, 3].map(() => meter.judge(1, true, 0))).toEqual(["take", "take", "take", "later"]);
    expect(meter.judge(1, true, 20_001)).toBe("take");
  });

  it("calls it abuse when a minute's worth was ignored", () => {
    const meter = new PeerMeter(rates);
    meter.judge(100, false, 0);
    const verdicts = Array.from({ length: 100 }, () => meter.judge(100, false, 0));
    expect(verdicts.indexOf("abuse")).toBe(60);
  });
});
