import { gCounter } from "@coppice/crdt";
import { createGroupStore, memoryStorage } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "./core/limits.ts";
import { Grove, altered, notes } from "./nodes.test-support.ts";

describe("limits", () => {
  it("slow a peer down that sends too fast, and lose nothing", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"], { limits: { eventsPerSecondMax: 200 } });
    const counter = await a.open("c", gCounter);
    for (let i = 0; i < 30; i++) {
      for (let j = 0; j < 10; j++) counter.mutate((c) => c.increment(1));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await grove.converged();
    expect((await b.open("c", gCounter)).value()).toBe(300);
  });

  it("pause a whole group at its cap of actors, with a notice", async () => {
    await using grove = new Grove();
    const hub = await grove.start("hub", [], { limits: { actorsPerGroupMax: 2 } });
    const onHub = await hub.open("m", notes);
    for (const name of ["a", "b", "c"]) {
      const node = await grove.start(name, ["hub"]);
      (await node.open("m", notes)).mutate((m) => m.set(name, "here"));
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    await expect.poll(() => hub.group("m")?.isPaused).toBe(true);
    expect(onHub.read((m) => m.size)).toBe(2);
    expect(grove.notices.filter(({ code }) => code === "LIMIT_EXCEEDED")).toHaveLength(1);
  });

  it("do not hold a late joiner back because one actor wrote in many groups", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    for (let i = 0; i < 50; i++) (await a.open(["g", i], gCounter)).mutate((c) => c.increment(1));
    await grove.start("b", ["a"], { limits: { newActorsPerMinuteMax: 1 }, heartbeatMs: 60_000 });
    await grove.converged(3000);
  });

  it("bound what waits for events before it", async () => {
    await using grove = new Grove({ seed: 5 });
    const limits = { pendingBytesMax: 200, tailBytesMax: 2000 };
    const a = await grove.start("a", [], { limits });
    const b = await grove.start("b", ["a"], { limits });
    const counter = await a.open("c", gCounter);
    await b.open("c", gCounter);
    grove.network.setFaults({ reordering: 0.6, delayMs: [0, 4] });
    for (let i = 0; i < 100; i++) {
      counter.mutate((c) => c.increment(1));
      await new Promise((resolve) => setImmediate(resolve));
      expect(b.group("c")?.pendingBytes ?? 0).toBeLessThanOrEqual(200);
    }
    grove.network.clearFaults();
    await grove.converged();
  });

  it("keep a group that is larger than a message here, and let the others go on", async () => {
    await using grove = new Grove();
    const limits = { messageBytesMax: 100_000, tailBytesMax: 1000 };
    const a = await grove.start("a", [], { limits });
    await grove.start("b", ["a"], { limits });
    const map = await a.open("large", notes);
    for (let i = 0; i < 2000; i++) map.mutate((m) => m.set(`k${i}`, "x".repeat(100)));
    const counter = await a.open("c", gCounter);
    await counter.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    await grove.stop("b");
    const again = await grove.start("b", ["a"], { limits });
    await expect.poll(() => again.group("c")?.events).toBe(1);
    const told = grove.notices.filter(({ code }) => code === "LIMIT_EXCEEDED");
    expect(told).toMatchObject([{ group: "large", message: expect.stringContaining("messageBytesMax") }]);
    await counter.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    expect(again.peers()).toHaveLength(1);
  });

  it("have a default each, and refuse nonsense by name", async () => {
    await using grove = new Grove();
    expect(Object.values(DEFAULT_LIMITS).every((limit) => limit > 0)).toBe(true);
    await expect(grove.start("a", [], { limits: { groupsMax: -1 } })).rejects.toThrow(/limits\.groupsMax/);
  });

  it("hold peers back while the storage is behind, and let them go on after", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(memoryStorage());
    let release = (): void => {};
    let isSlow = false;
    const storage = altered(backing, {
      durability: () => ({ durable: true, sync: true }),
      commit: async (commit, options) => {
        if (isSlow) await new Promise<void>((resolve) => (release = resolve));
        return await backing.commit(commit, options);
      },
    });
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"], { storage, limits: { uncommittedBytesMax: 2000 } });
    const map = await a.open("m", notes);
    map.mutate((m) => m.set("first", "here"));
    await grove.converged();
    isSlow = true;
    for (let i = 0; i < 40; i++) {
      map.mutate((m) => m.set(`k${i}`, "x".repeat(200)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(b.group("m")?.events ?? 0).toBeLessThan(20);
    isSlow = false;
    release();
    await grove.converged();
    expect(b.group("m")?.events).toBe(41);
  });

  it("keep the number of groups", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", [], { limits: { groupsMax: 2 } });
    await node.open("1", gCounter);
    await node.open("2", gCounter);
    await expect(node.open("3", gCounter)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });
});

describe("a clock", () => {
  it("far ahead of all peers' refuses own writes, and is believed again once set right", async () => {
    await using grove = new Grove();
    let offset = 2 * DEFAULT_LIMITS.clockSkewMaxMs;
    const a = await grove.start("a", [], { now: () => Date.now() + offset });
    const b = await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    await expect.poll(() => grove.notices.map(({ code }) => code)).toContain("CLOCK_SKEW");
    expect(() => counter.mutate((c) => c.increment(1))).toThrow(expect.objectContaining({ code: "CLOCK_SKEW" }));
    (await b.open("c", gCounter)).mutate((c) => c.increment(1));
    await expect.poll(() => counter.value()).toBe(1);
    offset = 0;
    await expect
      .poll(() => {
        try {
          return counter.mutate((c) => c.increment(1)).result === undefined;
        } catch {
          return false;
        }
      })
      .toBe(true);
  });
});
