import { gCounter } from "@coppice/crdt";
import {
  type GroupStorage,
  type StorageBackend,
  createGroupStore,
  encodeGroupId,
  memoryStorage,
} from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import { Grove } from "./nodes.test-support.ts";

const idOf = (index: number): [string, string] => ["words", `group-${index}`];

/** Counters that were written by a node which has closed; each is at its index and one. */
async function fill(grove: Grove, storage: StorageBackend | GroupStorage, groups: number): Promise<void> {
  const node = await grove.start("filler", [], { storage });
  for (let index = 0; index < groups; index++) {
    const counter = await node.open(idOf(index), gCounter);
    counter.mutate((c) => c.increment(index + 1));
    counter.close();
  }
  await grove.stop("filler");
}

describe("an eager recovery", () => {
  it("holds no more idle groups than there is room for, and counts all that it loaded", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const groups = 9000;
    await fill(grove, storage, groups);
    const limits = { idleBytesMax: 1 << 20 };
    const node = await grove.start("a", [], { storage, limits, heartbeatMs: 1_000_000 });
    let active = 0;
    const report = await node.recover({
      onProgress: ({ done }) => {
        if (done % 1000 !== 0) return;
        active = Math.max(active, [...node.groups()].filter(({ phase }) => phase === "active").length);
      },
    });
    expect(report).toMatchObject({ recovered: groups, degraded: [], failed: [], events: groups });
    expect(active).toBeGreaterThan(512);
    expect(active).toBeLessThan(5200);
    expect((await node.open(idOf(8999), gCounter)).value()).toBe(9000);
  }, 60_000);

  it("does not take what was read of a group before it was written to", async () => {
    await using grove = new Grove();
    const store = createGroupStore(memoryStorage());
    await fill(grove, store, 2);
    const idle = { idleGraceMs: 20, heartbeatMs: 20, snapshotIntervalMs: 20 };
    const node = await grove.start("a", [], { storage: store, ...idle });
    let isUnloaded = false;
    const load = store.loadGroups.bind(store);
    store.loadGroups = async function* (options) {
      const pages = [];
      for await (const page of load(options)) pages.push(page);
      const counter = await node.open(idOf(1), gCounter);
      counter.mutate((c) => c.increment(1));
      counter.close();
      await expect.poll(() => node.group(idOf(1))?.phase).toBe("stored");
      isUnloaded = true;
      yield* pages;
    };
    expect(await node.recover()).toMatchObject({ recovered: 2, events: 3 });
    expect(isUnloaded).toBe(true);
    expect((await node.open(idOf(1), gCounter)).value()).toBe(3);
  });

  it("reports what is damaged, and serves what is left of it", async () => {
    await using grove = new Grove();
    const disk = new SimulatedDisk();
    await fill(grove, disk.backend(), 4);
    const key = `c${encodeGroupId(idOf(3))}1`;
    const record = disk.contents.get(key) ?? new Uint8Array(0);
    disk.rot({ key }, record.with(30, (record[30] ?? 0) ^ 1));
    const node = await grove.start("a", [], { storage: disk.backend() });
    const report = await node.recover();
    expect(report.degraded).toMatchObject([{ id: idOf(3), phase: "active" }]);
    expect(report.recovered).toBe(3);
    expect((await node.open(idOf(3), gCounter)).value()).toBe(4);
  });
});
