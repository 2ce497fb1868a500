import { VersionVector, gCounter, parseActor } from "@coppice/crdt";
import { createGroupStore, encodeGroupId, memoryStorage } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import type { Logger } from "./logger.ts";
import type { MetricSample, MetricsRegistry } from "./metrics.ts";
import { Ghost, Grove, altered, gate, gossip, increments, notes } from "./nodes.test-support.ts";

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

  it("is none to a peer that has gone, also when what it said waited for the group to be loaded", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(new SimulatedDisk().backend());
    const first = await grove.start("a", [], { storage: backing });
    await (await first.open("c", gCounter)).mutate((c) => c.increment(1), { ack: "log" });
    grove.crash("a");
    const loads = gate();
    // The killed node has it open.
    const storage = altered(backing, {
      open: async () => {},
      load: async (id) => await loads.opened.then(() => backing.load(id)),
    });
    const node = await grove.start("a", [], { storage });
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    const group = { key: encodeGroupId("c"), type: gCounter.name, epoch: 1 };
    ghost.say({ kind: "vector", group, intent: "tell", vector: new VersionVector([[GONE, 9]]) });
    await expect.poll(() => node.peers()[0]?.bytesIn).toBeGreaterThan(30);
    await ghost.leave();
    await expect.poll(() => node.peers()).toEqual([]);
    loads.open();
    await expect.poll(() => node.group("c")?.phase).toBe("active");
    expect(node.lags()).toEqual([]);
    expect(node.group("c")?.lagEvents).toBe(0);
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
    await grove.stop("a");
    const details = lines.filter(([level]) => level === "debug").map(([, fields]) => fields);
    expect(details).toEqual([
      { event: "node-started", node: "a", incarnation: a.incarnation, groups: 0 },
      { event: "node-stopped", node: "a" },
    ]);
    await expect(grove.start("c", [], { logger: {} as never })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});

describe("figures", () => {
  it("count what happens, and are read only when somebody looks", async () => {
    await using grove = new Grove();
    const figures = new Map<string, () => Iterable<MetricSample>>();
    const told = new Map<string, number[]>();
    const registry: MetricsRegistry = {
      counter: ({ name }, read) => void figures.set(name, read),
      gauge: ({ name }, read) => void figures.set(name, read),
      histogram: ({ name }) => {
        const values: number[] = [];
        told.set(name, values);
        return (value) => void values.push(value);
      },
    };
    const value = (name: string, labels: object = {}): number =>
      [...(figures.get(name)?.() ?? [])].find((sample) => JSON.stringify(sample.labels) === JSON.stringify(labels))
        ?.value ?? -1;
    const a = await grove.start("a", [], { storage: memoryStorage(), syncIntervalMs: 60_000 });
    const b = await grove.start("b", ["a"]);
    a.exportMetrics(registry);
    const [onA, onB] = [await a.open("c", gCounter), await b.open("c", gCounter)];
    await onA.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    await onB.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    expect(value("coppice_events_applied_total", { origin: "local" })).toBe(1);
    expect(value("coppice_events_applied_total", { origin: "gossip" })).toBe(1);
    expect(value("coppice_acks_received_total")).toBe(1);
    expect(value("coppice_groups", { phase: "active" })).toBe(1);
    expect(value("coppice_peers")).toBe(1);
    for (const way of ["received", "sent"]) {
      expect(value(`coppice_frames_${way}_total`)).toBeGreaterThan(0);
      expect(value(`coppice_${way}_bytes_total`)).toBeGreaterThan(100);
      expect(value(`coppice_peer_${way}_bytes_total`, { peer: "b" })).toBeGreaterThan(100);
    }
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    ghost.say(gossip("c", increments(GONE, 2, 2)));
    await expect.poll(() => value("coppice_pending_events")).toBe(2);
    await ghost.leave();
    expect(value("coppice_peer_lag_events", { peer: "b" })).toBe(0);
    await a.snapshot();
    expect(told.get("coppice_commit_seconds")?.length).toBeGreaterThan(0);
    await grove.stop("b");
  });

  it("goes on when those it tells of things throw", async () => {
    await using grove = new Grove();
    const fail = (): never => {
      throw new Error("no");
    };
    const errors: object[] = [];
    const logger = { debug: fail, info: fail, warn: fail, error: (fields: object) => (errors.push(fields), fail()) };
    const a = await grove.start("a", [], { logger, onNotice: fail });
    a.onPeer(fail);
    const b = await grove.start("b", ["a"]);
    const [onA, onB] = await Promise.all([a, b].map((node) => node.open("doc", gCounter)));
    onA?.subscribe(fail);
    await onB?.mutate((counter) => counter.increment(1), { ack: { replicas: 1 } });
    await expect.poll(() => onA?.value()).toBe(1);
    await b.delete("doc");
    await expect.poll(() => a.group("doc")?.phase).toBe("deleted");
    expect(errors).toContainEqual({ event: "listener-failed", code: "SUBSCRIBER_FAILED" });
  });

  it("commits and loads are done although a registry throws", async () => {
    await using grove = new Grove();
    const backend = new SimulatedDisk().backend();
    const first = await grove.start("a", [], { storage: backend });
    (await first.open("c", gCounter)).mutate((counter) => counter.increment(1));
    await grove.stop("a");
    const node = await grove.start("a", [], { storage: backend });
    const fail = (): never => {
      throw new Error("no");
    };
    node.exportMetrics({ counter: () => {}, gauge: () => {}, histogram: () => fail });
    const counter = await node.open("c", gCounter);
    await counter.mutate((c) => c.increment(1), { ack: "log" });
    expect(counter.value()).toBe(2);
    expect(codes(grove)).toContain("SUBSCRIBER_FAILED");
  });
});
