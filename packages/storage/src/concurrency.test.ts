import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { StorageBackend } from "./backend.ts";
import type { GroupStorage } from "./group-storage.ts";
import { collect, meta, openStore, record, snapshot } from "./group-store.test-support.ts";
import { levelStorage } from "./level/index.ts";
import { memoryStorage } from "./memory.ts";

interface Group {
  readonly id: string;
  epoch: number;
  /** Events handed in, and events acknowledged. */
  written: number;
  acknowledged: number;
}

/** A load that runs beside writes shows some moment between its beginning and its end. */
async function checkedLoad(store: GroupStorage, group: Group): Promise<void> {
  const { epoch, acknowledged } = group;
  const loaded = await store.load(group.id);
  if (group.epoch !== epoch) return;
  let events = loaded?.snapshot?.journalPosition ?? 0;
  for (const { position, count, bytes } of loaded?.records ?? []) {
    expect([position, new TextDecoder().decode(bytes)]).toEqual([events, `events ${position}+${count}`]);
    events += count;
  }
  expect(loaded?.damage ?? []).toEqual([]);
  expect(loaded?.nextPosition ?? 0).toBe(events);
  expect(events).toBeGreaterThanOrEqual(epoch % 2 === 1 ? acknowledged : 0);
  expect(events).toBeLessThanOrEqual(group.written);
}

async function step(store: GroupStorage, group: Group, action: number): Promise<void> {
  const { id, epoch, written } = group;
  if (action === 0 && epoch % 2 === 1) return await checkedLoad(store, group);
  if (action === 1 && epoch % 2 === 1 && written > 3) {
    Object.assign(group, { epoch: epoch + 1, written: 0, acknowledged: 0 });
    return await store.commit({ deletions: [meta(id, 0, epoch + 1)] });
  }
  if (epoch % 2 === 0) {
    Object.assign(group, { epoch: epoch + 1, written: 0, acknowledged: 0 });
    return await store.commit({ created: [meta(id, 0, epoch + 1)] });
  }
  group.written++;
  const at = written + 1;
  const records = [record(id, written, 1, epoch)];
  await store.commit({ records, snapshots: action % 3 === 0 ? [snapshot(id, at, at, epoch)] : [] });
  if (group.epoch === epoch) group.acknowledged = Math.max(group.acknowledged, at);
}

async function run(backend: StorageBackend, actions: readonly (readonly [number, number])[]): Promise<void> {
  const { store, damage } = await openStore(backend);
  const groups = Array.from({ length: 4 }, (_, index): Group => ({
    id: `g${index}`,
    epoch: 0,
    written: 0,
    acknowledged: 0,
  }));
  await Promise.all(actions.map(([index, action]) => step(store, groups[index] as Group, action)));
  for (const group of groups) {
    expect((await store.load(group.id))?.nextPosition ?? 0).toBe(group.written);
  }
  await store.close();
  await store.open();
  for (const group of groups) {
    await checkedLoad(store, group);
    expect((await store.row(group.id))?.epoch ?? 0).toBe(group.epoch);
  }
  expect(await collect(store.listGroups())).toHaveLength(groups.filter(({ epoch }) => epoch % 2 === 1).length);
  expect(damage).toEqual([]);
  await store.close();
}

const history = fc.array(fc.tuple(fc.nat(3), fc.nat(8)), { minLength: 1, maxLength: 60 });

it("commits and loads that run at once see whole moments, in memory", async () => {
  await fc.assert(
    fc.asyncProperty(history, async (actions) => await run(memoryStorage(), actions)),
    { numRuns: 200 },
  );
});

it("commits and loads that run at once see whole moments, on disk", async () => {
  await fc.assert(
    fc.asyncProperty(history, async (actions) => {
      const directory = await mkdtemp(join(tmpdir(), "coppice-concurrent-"));
      await run(levelStorage(directory), actions);
      await rm(directory, { recursive: true });
    }),
    { numRuns: 20 },
  );
});
