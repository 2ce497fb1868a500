import { VersionVector, gCounter, parseActor } from "@coppice/crdt";
import { encodeGroupId } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import type { Logger } from "./logger.ts";
import { Ghost, Grove, gossip, increments, notes } from "./nodes.test-support.ts";

const GONE = parseActor("0".repeat(31).concat("1"));
const LOST = parseActor("0".repeat(31).concat("2"));

function codes(grove: Grove): string[] {
  return grove.notices.map(({ code }) => code);
}

describe("lag", () => {
  it("is seen for each group and peer while something is missing, and is gone when it has come", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await grove.converged();
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    const all = increments(GONE, 1, 5);
    const group = { key: encodeGroupId("c"), type: gCounter.name, epoch: 1 };
    ghost.say({ kind: "vector", group, intent: "tell", vector: new VersionVector([[GONE, 5]]) });
    await expect.poll(() => a.lags("c")).toMatchObject([{ peer: "ghost", missingHere: 5, missingThere: 1 }]);
    expect(a.peers().find(({ id }) => id === "ghost")).toMatchObject({ differingGroups: 1, lagEvents: 5 });
    await expect.poll(() => a.group("c")?.lagMs).toBeGreaterThan(0);
    expect(a.group("c")).toMatchObject({ lagEvents: 5, pendingEvents: 0, isStuck: false });
    ghost.say(gossip("c", all));
    await expect.poll(() => counter.value()).toBe(6);
    expect(a.group("c")).toMatchObject({ lagEvents: 0, lagMs: 0 });
    await ghost.leave();
    await expect.poll(() => a.lags()).toEqual([]);
    await grove.converged();
    await expect.poll(() => b.group("c")?.comparedAt ?? 0).toBeGreaterThan(Date.now() - 60_000);
    expect(a.group("c")?.bytesIn).toBeGreaterThanOrEqual(all.bytes.length);
    expect(a.group("c")?.bytesOut).toBeGreaterThanOrEqual(all.bytes.length);
  });

  it("that does not shrink is an alarm, naming group, peer and what is missing, which ends by itself", async () => {
    await using grove = new Grove();
    const limits = { actorsPerGroupMax: 1 };
    const hub = await grove.start("hub", [], { limits, syncIntervalMs: 50 });
    const onHub = await hub.open("m", notes);
    onHub.mutate((m) => m.set("hub", "here"));
    const a = await grove.start("a", ["hub"], { syncIntervalMs: 50 });
    const onA = await a.open("m", notes);
    await grove.converged();
    onA.mutate((m) => m.set("a", "here"));
    await expect.poll(() => codes(grove).filter((code) => code === "STUCK").length, { timeout: 10_000 }).toBe(2);
    const stuck = grove.notices.filter(({ code }) => code === "STUCK");
    expect(stuck.map(({ group }) => group)).toEqual(["m", "m"]);
    expect(new Set(stuck.map(({ peer }) => peer))).toEqual(new Set(["a", "hub"]));
    expect(stuck.map(({ message }) => message).join()).toMatch(/missing here: event 1 of [0-9a-f]{32}/);
    expect(hub.group("m")).toMatchObject({ isStuck: true, lagEvents: 1 });
    expect(hub.peers()).toMatchObject([{ stuckGroups: 1, lagEvents: 1 }]);
    await a.delete("m");
    await expect.poll(() => codes(grove)).toContain("UNSTUCK");
    expect(hub.peers()).toMatchObject([{ stuckGroups: 0, lagEvents: 0 }]);
  });
});

describe("events that wait", () => {
  it("for what no peer has are given up, counted and reported", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { heartbeatMs: 20 });
    await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    ghost.say(gossip("c", increments(GONE, 2, 3)), gossip("c", increments(LOST, 1, 2, [{ actor: GONE, seq: 1 }])));
    await expect.poll(() => a.group("c")?.pendingEvents).toBe(5);
    await ghost.leave();
    await expect.poll(() => a.group("c")?.pendingEvents, { timeout: 10_000 }).toBe(0);
    expect(a.group("c")).toMatchObject({ orphanedEvents: 5, pendingBytes: 0, events: 1 });
    expect(grove.notices.find(({ code }) => code === "ORPHANED")).toMatchObject({
      group: "c",
      message: expect.stringContaining(`event 1 of ${GONE}`),
    });
    // Whoever has all of it can still bring it.
    const again = new Ghost(grove, "ghost");
    await again.haunt("a");
    again.say(gossip("c", increments(GONE, 1, 4)), gossip("c", increments(LOST, 1, 2, [{ actor: GONE, seq: 1 }])));
    await expect.poll(() => counter.value()).toBe(7);
    await again.leave();
  });

  it("for what a silent peer may have are kept, and reported as stuck until they move on", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { heartbeatMs: 10 });
    const counter = await a.open("c", gCounter);
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    ghost.say(gossip("c", increments(GONE, 3, 2)));
    await expect.poll(() => codes(grove), { timeout: 10_000 }).toContain("STUCK");
    expect(a.group("c")).toMatchObject({ isStuck: true, pendingEvents: 2, orphanedEvents: 0 });
    ghost.say(gossip("c", increments(GONE, 1, 2)));
    await expect.poll(() => codes(grove)).toContain("UNSTUCK");
    expect(counter.value()).toBe(4);
    await ghost.leave();
  });
});

describe("a logger", () => {
  it("gets notices with code, group and peer, and peers that come and go; it is checked", async () => {
    await using grove = new Grove();
    const lines: [string, object, string][] = [];
    const at = (level: string) => (fields: object, message: string) => void lines.push([level, fields, message]);
    const logger: Logger = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
    const a = await grove.start("a", [], { logger });
    const counter = await a.open(["c", 1], gCounter);
    counter.subscribe(() => {
      throw new Error("broken");
    });
    await grove.start("b", ["a"]);
    counter.mutate((c) => c.increment(1));
    await expect
      .poll(() => lines)
      .toContainEqual(["warn", { code: "SUBSCRIBER_FAILED", group: "c/:1" }, expect.stringContaining("broken")]);
    await grove.stop("b");
    await expect.poll(() => lines.map(([, fields]) => fields)).toContainEqual({ event: "peer-leave", peer: "b" });
    await expect(grove.start("c", [], { logger: {} as never })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});
