import { describe, expect, it } from "vitest";
import type { StorageBackend } from "./backend.ts";
import { createDomains, type DomainOptions } from "./domains.ts";
import type { GroupId } from "./group-id.ts";
import { collect, meta, record, snapshot } from "./group-store.test-support.ts";
import { memoryStorage } from "./memory.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";
import { writeBehind } from "./write-behind.ts";

/** The number of groups: each has two records. */
const keys = async (backend: StorageBackend): Promise<number> =>
  (await collect(backend.scan({ prefix: "c" }))).length / 2;
const code = (expected: string): unknown => expect.objectContaining({ code: expected });

describe("domains: configuration", () => {
  it("is memory by default, is normalised, and can be read and forgotten", () => {
    const domains = createDomains();
    const adapter = memoryStorage();
    expect(domains.domainConfig("a")).toMatchObject({ inMemory: false, autoSaveMs: "never", configured: false });
    expect(domains.adapter("a").name).toBe("memory:");
    domains.configureDomain("a", { adapter, inMemory: true });
    expect(domains.domainConfig("a")).toEqual({ adapter, inMemory: true, autoSaveMs: 5000, configured: true });
    expect(domains.adapter("a")).toBe(adapter);
    domains.resetDomain("a");
    domains.resetDomain("a");
    expect(domains.domainConfig("a").configured).toBe(false);
    domains.configureDomain("a", { adapter });
    domains.clear();
    expect(domains.domainConfig("a").configured).toBe(false);
  });

  it("tells invalid options from an invalid adapter", () => {
    const domains = createDomains();
    const adapter = memoryStorage();
    const options: unknown[] = [
      undefined,
      { adapter, autoSaveMs: 5 },
      { adapter, inMemory: 1 },
      { adapter, inMemory: true, autoSaveMs: 0 },
      { adapter, inMemory: true, autoSaveMs: Number.POSITIVE_INFINITY },
      { adapter, unknown: 1 },
    ];
    for (const bad of options) {
      expect(() => domains.configureDomain("a", bad as DomainOptions)).toThrow(code("INVALID_OPTIONS"));
    }
    for (const bad of [undefined, {}, "level:./data", new Map()]) {
      expect(() => domains.configureDomain("a", { adapter: bad as never })).toThrow(code("INVALID_ADAPTER"));
    }
    expect(() => createDomains({ adapter: {} as never })).toThrow(code("INVALID_ADAPTER"));
    for (const bad of [null, { adaptor: adapter }, { compression: "lzma" }, { onError: 5 }, { schedule: 5 }]) {
      expect(() => createDomains(bad as never)).toThrow(code("INVALID_OPTIONS"));
    }
    expect(domains.domainConfig("a").configured).toBe(false);
  });

  it("never touches data, and does not move a domain that is open", async () => {
    const adapter = memoryStorage();
    await using domains = createDomains();
    domains.configureDomain("a", { adapter });
    await domains.open();
    await domains.commit({ created: [meta(["a", 1])] });
    expect(() => domains.resetDomain("a")).toThrow(code("IN_USE"));
    expect(() => domains.clear()).toThrow(code("IN_USE"));
    expect(() => domains.configureDomain("a", { adapter: memoryStorage() })).toThrow(code("IN_USE"));
    domains.configureDomain("a", { adapter });
    await domains.closeDomain("a");
    domains.clear();
    expect(await domains.row(["a", 1])).toBeUndefined();
    domains.configureDomain("a", { adapter });
    expect(await domains.row(["a", 1])).toMatchObject({ type: "counter" });
  });
});

describe("domains: routing", () => {
  it("stores each group with its domain, and lists all of them in the order of keys", async () => {
    const [fallback, a, c] = [memoryStorage(), memoryStorage(), memoryStorage()];
    await using domains = createDomains({ adapter: fallback });
    domains.configureDomain("a", { adapter: a });
    domains.configureDomain("c", { adapter: c });
    await domains.open();
    const ids: GroupId[] = ["plain", [7], ["a"], ["a", 1], ["b", 1], ["c", 1], ["c", 2], ["d", 1]];
    await domains.commit({ created: ids.map((id) => meta(id)), records: ids.map((id) => record(id, 0)) });
    await domains.commit({
      snapshots: [snapshot(["a", 1], 1)],
      deletions: [meta(["c", 2], 1, 2)],
      repaired: ["plain"],
    });
    expect([await keys(fallback), await keys(a), await keys(c)]).toEqual([4, 2, 2]);
    const list = async (prefix?: GroupId): Promise<GroupId[]> =>
      (await collect(domains.listGroups(prefix === undefined ? {} : { prefix }))).map(({ id }) => id);
    expect(await list()).toEqual(ids.filter((id) => String(id) !== "c,2"));
    expect(await list(["a"])).toEqual([["a"], ["a", 1]]);
    expect(await list("pl")).toEqual(["plain"]);
    expect(await list([])).toEqual([[7], ["a"], ["a", 1], ["b", 1], ["c", 1], ["d", 1]]);
    expect(await domains.load(["a", 1])).toMatchObject({ nextPosition: 1, snapshot: { time: 1001 } });
    const journalled = (await collect(domains.listJournalled())).map(String).sort();
    expect(journalled).toEqual(["7", "a", "b,1", "c,1", "d,1", "plain"]);
  });

  it("lists more than a page of each, and nothing of domains that moved away", async () => {
    const [fallback, b] = [memoryStorage(), memoryStorage()];
    await using domains = createDomains({ adapter: fallback });
    domains.configureDomain("b", { adapter: b });
    await domains.open();
    const ids = ["a", "b", "c"].flatMap((domain) => Array.from({ length: 1500 }, (_, index) => [domain, index]));
    await domains.commit({ created: ids.map((id) => meta(id)) });
    expect((await collect(domains.listGroups())).map(({ id }) => id)).toEqual(ids);
    await domains.closeDomain("b");
    domains.configureDomain("b", { adapter: memoryStorage() });
    expect(await collect(domains.listGroups())).toHaveLength(3000);
  });

  it("lists a group only from where its domain is stored now", async () => {
    const [a, b] = [memoryStorage(), memoryStorage()];
    const before = createDomains();
    before.configureDomain("a", { adapter: a });
    before.configureDomain("b", { adapter: a });
    await before.open();
    await before.commit({ created: [meta(["a", 1]), meta(["b", 1]), meta(["b", 2])] });
    await before.close();
    await using domains = createDomains();
    domains.configureDomain("a", { adapter: a });
    domains.configureDomain("b", { adapter: b });
    await domains.open();
    await domains.commit({ created: [meta(["b", 2])], records: [record(["b", 2], 0)] });
    expect((await collect(domains.listGroups())).map(({ id }) => id)).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
    expect(await collect(domains.listJournalled())).toEqual([["b", 2]]);
    expect(await keys(a)).toBe(3);
  });

  it("may share an adapter, and keeps the node's record in the default domain", async () => {
    const shared = memoryStorage();
    await using domains = createDomains({ adapter: shared });
    domains.configureDomain("a", { adapter: shared });
    expect(() => domains.configureDomain("b", { adapter: shared, inMemory: true })).toThrow(code("INVALID_OPTIONS"));
    await domains.open();
    await domains.commit({ created: [meta(["a", 1]), meta(["b", 1])] });
    expect(await collect(domains.listGroups())).toHaveLength(2);
    await domains.writeNode({ nodeId: "n", starts: 1, clean: false, peers: [] });
    await domains.writeSecret("key", Uint8Array.of(1));
    expect(await domains.readNode()).toMatchObject({ nodeId: "n" });
    expect(await shared.readSecret("key")).toEqual(Uint8Array.of(1));
  });

  it("opens nothing when one adapter is locked, and says so", async () => {
    const disk = new SimulatedDisk();
    await using holder = disk.backend();
    await holder.open();
    const fallback = memoryStorage();
    const domains = createDomains({ adapter: fallback });
    domains.configureDomain("a", { adapter: disk.backend() });
    await expect(domains.open()).rejects.toMatchObject({ code: "LOCKED" });
    expect(fallback.status).toBe("closed");
    await expect(domains.row("x")).rejects.toMatchObject({ code: "NOT_OPEN" });
  });

  it("is NOT_OPEN before open and after close; closing, flushing and syncing are safe at any time", async () => {
    const domains = createDomains();
    const idle = async (): Promise<void> => {
      await domains.flushDomain("a");
      await domains.syncDomain("a");
      await domains.closeDomain("a");
      for (const call of [domains.commit({}), domains.load("a"), domains.sync(), collect(domains.listGroups())]) {
        await expect(call).rejects.toMatchObject({ code: "NOT_OPEN" });
      }
    };
    await idle();
    await domains.close();
    await domains.open();
    await domains.commit({});
    await domains.close();
    await domains.close();
    await idle();
  });

  it("tells whether a group survives", async () => {
    const domains = createDomains();
    domains.configureDomain("a", { adapter: new SimulatedDisk().backend() });
    expect(domains.durability("x")).toEqual({ durable: false, sync: false });
    expect(domains.durability(["a", 1])).toEqual({ durable: true, sync: true });
    domains.configureDomain("b", { adapter: new SimulatedDisk().backend(), inMemory: true });
    domains.configureDomain("c", { adapter: writeBehind(new SimulatedDisk().backend()) });
    for (const domain of ["b", "c"]) {
      expect(domains.durability([domain])).toEqual({ durable: true, sync: true, buffered: true });
    }
  });

  it("closes a domain once, and opens it again for what is asked of it meanwhile", async () => {
    const disk = new SimulatedDisk();
    await using domains = createDomains();
    domains.configureDomain("a", { adapter: disk.backend(), inMemory: true, autoSaveMs: "never" });
    await domains.open();
    for (let round = 0; round < 10; round++) {
      await domains.commit({ created: [meta(["a", round])] });
      const closing = [domains.closeDomain("a"), domains.closeDomain("a")];
      const using = [domains.row(["a", round]), domains.row(["a", round]), domains.syncDomain("a"), domains.sync()];
      await Promise.all([...closing, domains.commit({ created: [meta(["a", "late", round])] }), ...using]);
      expect(await using[0]).toMatchObject({ type: "counter" });
    }
    await domains.close();
    expect(await keys(await opened(disk.clone().backend()))).toBe(20);
  });

  it("syncs a domain that is still opening, and one that could not open has nothing to sync", async () => {
    const disk = new SimulatedDisk();
    await using domains = createDomains();
    domains.configureDomain("a", { adapter: disk.backend() });
    await domains.open();
    await domains.closeDomain("a");
    const row = domains.row(["a"]);
    await domains.syncDomain("a");
    expect(await row).toBeUndefined();
    await domains.closeDomain("a");
    disk.faults.fail = (operation) => (operation === "open" ? new Error("broken") : undefined);
    const failing = [domains.row(["a"]), domains.row(["a"])];
    await domains.syncDomain("a");
    for (const call of failing) await expect(call).rejects.toMatchObject({ code: "IO" });
    disk.faults.fail = undefined;
    expect(await domains.row(["a"])).toBeUndefined();
  });
});

describe("domains in memory", () => {
  it("save at the interval, together, and at once on flush, sync, a synced commit and close", async () => {
    const disk = new SimulatedDisk();
    const timers: (() => void)[] = [];
    await using domains = createDomains({ schedule: (task) => (timers.push(task), () => undefined) });
    domains.configureDomain("a", { adapter: disk.backend(), inMemory: true, autoSaveMs: 1000 });
    await domains.open();
    const id = ["a", "views"];
    await domains.commit({ created: [meta(id)] });
    for (let value = 1; value <= 100; value++) await domains.commit({ snapshots: [snapshot(id, value, 0)] });
    expect([disk.history.length, timers.length]).toEqual([0, 1]);
    timers[0]?.();
    await domains.flushDomain("a");
    expect(disk.history.filter(({ ops }) => ops.length > 0)).toHaveLength(1);
    const saved = async (): Promise<number | undefined> => {
      const after = createDomains({ adapter: disk.clone().backend() });
      await after.open();
      return (await after.row(id))?.time;
    };
    expect(await saved()).toBe(1100);
    await domains.commit({ snapshots: [snapshot(id, 101, 0)] });
    expect(await saved()).toBe(1100);
    await domains.syncDomain("a");
    expect(await saved()).toBe(1101);
    await domains.commit({ snapshots: [snapshot(id, 102, 0)] }, { sync: true });
    expect(await saved()).toBe(1102);
    await domains.commit({ snapshots: [snapshot(id, 103, 0)] });
    await domains.closeDomain("a");
    expect(await saved()).toBe(1103);
    expect(await domains.row(id)).toMatchObject({ time: 1103 });
  });

  it("that are never saved by themselves keep a failed save for the next one", async () => {
    const disk = new SimulatedDisk();
    const errors: Error[] = [];
    const timers: (() => void)[] = [];
    const schedule = (task: () => void): (() => void) => (timers.push(task), () => undefined);
    await using domains = createDomains({ onError: (error) => errors.push(error), schedule });
    domains.configureDomain("never", { adapter: new SimulatedDisk().backend(), inMemory: true, autoSaveMs: "never" });
    domains.configureDomain("a", { adapter: disk.backend(), inMemory: true, autoSaveMs: 10 });
    await domains.open();
    await domains.commit({ created: [meta(["never"])] });
    expect(timers).toHaveLength(0);
    await domains.commit({ created: [meta(["a"])] });
    disk.faults.fail = (operation) => (operation === "write" ? new Error("broken") : undefined);
    timers[0]?.();
    await expect(domains.syncDomain("a")).rejects.toMatchObject({ code: "IO" });
    expect(errors).toMatchObject([{ code: "IO" }]);
    expect(timers).toHaveLength(2);
    disk.faults.fail = undefined;
    timers[1]?.();
    await domains.flushDomain("a");
    expect(await keys(await opened(disk.clone().backend()))).toBe(1);
  });
});

async function opened(backend: StorageBackend): Promise<StorageBackend> {
  await backend.open();
  return backend;
}
