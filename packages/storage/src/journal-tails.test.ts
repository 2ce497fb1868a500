import { describe, expect, it } from "vitest";
import type { StorageBackend } from "./backend.ts";
import { createDomains } from "./domains.ts";
import { collect, meta, openStore, record, snapshot } from "./group-store.test-support.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";

const G = "g";
const MARK = "j";

/** A disk whose store was closed: one group has a snapshot of each of two events, another has none. */
async function closed(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  const { store } = await openStore(disk.backend());
  await store.commit({ created: [meta(G), meta("quiet")], records: [record(G, 0)], snapshots: [snapshot(G, 1)] });
  await store.commit({ records: [record(G, 1)], snapshots: [snapshot(G, 2)] });
  await store.close();
  return disk;
}

function isMarked(disk: SimulatedDisk): boolean {
  return disk.contents.get(MARK) !== undefined;
}

/** A backend whose list of logs is never done, and which counts how often it was asked for. */
function withoutLogs(disk: SimulatedDisk): { readonly backend: StorageBackend; readonly asked: () => number } {
  const backend = disk.backend();
  let asked = 0;
  backend.listLogs = () => {
    asked++;
    return { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) };
  };
  return { backend, asked: () => asked };
}

async function journalled(disk: SimulatedDisk): Promise<unknown[]> {
  const { store } = await openStore(disk.backend());
  const rows = await collect(store.listGroups({ journalled: true }));
  await store.close();
  return rows.map(({ id, isJournalled }) => [id, isJournalled]);
}

describe("the mark of a store that closed without a journal's tail", () => {
  it("spares the next start the journals, of which a list is made behind the first load", async () => {
    const { backend, asked } = withoutLogs(await closed());
    const { store } = await openStore(backend);
    const rows = await collect(store.listGroups({ journalled: true }));
    expect(rows.map(({ isJournalled }) => isJournalled)).toEqual([false, false]);
    expect(asked()).toBe(0);
    expect(await store.load(G)).toMatchObject({ nextPosition: 2, records: [] });
    await store.commit({ records: [record(G, 2)] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 3, records: [{ position: 2 }] });
    await store.load("quiet");
    expect(asked()).toBe(1);
  });

  it("stays while nothing is journalled", async () => {
    const disk = await closed();
    const { length } = disk.history;
    const { store } = await openStore(disk.backend());
    await store.commit({ snapshots: [snapshot("quiet", 0)] });
    await store.writeNode({ nodeId: "n", starts: 1, clean: false, peers: [] });
    await store.close();
    expect(isMarked(disk)).toBe(true);
    expect(disk.history.slice(length).flatMap(({ ops }) => ops)).not.toContainEqual(
      expect.objectContaining({ key: MARK }),
    );
  });

  it("goes with the first record, synced, and comes back with the snapshot", async () => {
    const disk = await closed();
    const { length } = disk.history;
    const { store } = await openStore(disk.backend());
    await store.commit({ records: [record(G, 2)] });
    expect(disk.history[length]).toMatchObject({ synced: true, ops: [{ op: "del", key: MARK }, { op: "append" }] });
    await store.commit({ records: [record(G, 3)] });
    expect(disk.history[length + 1]).toMatchObject({ synced: false, ops: [{ op: "append" }] });
    expect(await journalled(disk.clone())).toEqual([
      [G, true],
      ["quiet", false],
    ]);
    await store.commit({ snapshots: [snapshot(G, 4)] });
    await store.close();
    // What it stands for was synced before it was written.
    expect(disk.history.slice(-2)).toMatchObject([{ synced: true }, { synced: true, ops: [{ op: "put", key: MARK }] }]);
  });

  it("is not left behind a snapshot that the journal goes on behind", async () => {
    const disk = await closed();
    const { store } = await openStore(disk.backend());
    await store.commit({ records: [record(G, 2), record(G, 3)], snapshots: [snapshot(G, 3)] });
    await store.close();
    expect(isMarked(disk)).toBe(false);
  });

  it("is not left where a journal goes on, nor where that is not known", async () => {
    const disk = await closed();
    const first = await openStore(disk.backend());
    await first.store.commit({ records: [record(G, 2)] });
    await first.store.close();
    expect(isMarked(disk)).toBe(false);
    // Nobody has listed the groups, so there may be others.
    const second = await openStore(disk.backend());
    await second.store.commit({ snapshots: [snapshot(G, 3)] });
    await second.store.close();
    expect(isMarked(disk)).toBe(false);
    expect(await journalled(disk)).toEqual([
      [G, false],
      ["quiet", false],
    ]);
    expect(isMarked(disk)).toBe(true);
  });

  it("is left once the tails that a crash left were listed and have ended", async () => {
    const disk = await closed();
    const { store: crashed } = await openStore(disk.backend());
    await crashed.commit({ records: [record(G, 2), record("quiet", 0)] });
    const copy = disk.clone();
    const { store } = await openStore(copy.backend());
    await collect(store.listGroups({ journalled: true }));
    await store.commit({ snapshots: [snapshot(G, 3)] });
    await store.commit({ deletions: [meta("quiet", 0, 2)] });
    await store.close();
    expect(isMarked(copy)).toBe(true);
  });

  it("goes again when the write that removed it has failed, and is not left then", async () => {
    const disk = await closed();
    const { store } = await openStore(disk.backend());
    disk.faults.fail = (operation) => (operation === "sync" ? new Error("no sync") : undefined);
    await expect(store.commit({ records: [record(G, 2)] })).rejects.toThrow("no sync");
    disk.faults.fail = undefined;
    await store.load(G);
    await store.commit({ records: [record(G, 3)] });
    expect(disk.history.at(-1)).toMatchObject({ synced: true, ops: [{ op: "del", key: MARK }, { op: "append" }] });
    await store.commit({ snapshots: [snapshot(G, 4)] });
    await store.close();
    expect(isMarked(disk)).toBe(false);
  });

  it("is not believed of a group that went back to an older record", async () => {
    const disk = await closed();
    const [newest] = ["0", "1"].filter((slot) => {
      const record = disk.contents.get(`csg!${slot}`);
      return record !== undefined && record[6] === 2;
    });
    const key = `csg!${newest}`;
    const bytes = disk.contents.get(key) as Uint8Array;
    disk.rot({ key }, bytes.with(30, (bytes[30] ?? 0) ^ 1));
    const { store, damage } = await openStore(disk.backend());
    const rows = await collect(store.listGroups({ journalled: true }));
    expect(rows.map(({ id, isJournalled, degraded }) => [id, isJournalled, degraded])).toEqual([
      [G, true, true],
      ["quiet", false, false],
    ]);
    expect(damage).toHaveLength(1);
    expect(isMarked(disk)).toBe(false);
    await store.commit({ snapshots: [snapshot(G, 2)] });
    await store.close();
    expect(isMarked(disk)).toBe(false);
  });

  it("is believed no longer once a group is read whose journal was restored below it", async () => {
    const disk = await closed();
    const restored = new SimulatedDisk();
    const { store: other } = await openStore(restored.backend());
    await other.commit({ created: [meta("back")], records: [record("back", 0)] });
    for (const slot of ["0", "1"]) {
      const key = `csback!${slot}`;
      disk.rot({ key }, restored.contents.get(key) as Uint8Array);
    }
    for (const { seq, value } of [...restored.contents.readLog("sback!11", 0)].flat()) {
      disk.rot({ log: "sback!11", seq }, value);
    }
    // Until then nothing tells.
    expect(await journalled(disk)).toEqual([
      ["back", false],
      [G, false],
      ["quiet", false],
    ]);
    const { store } = await openStore(disk.backend());
    expect(await store.load("back")).toMatchObject({ nextPosition: 1, records: [{ position: 0 }] });
    await store.close();
    expect(isMarked(disk)).toBe(false);
    expect(await journalled(disk)).toEqual([
      ["back", true],
      [G, false],
      ["quiet", false],
    ]);
  });

  it("is nothing when it has rotted, or is of another version", async () => {
    for (const at of [0, 4]) {
      const disk = await closed();
      const { store } = await openStore(disk.backend());
      await store.commit({ records: [record(G, 2)] });
      await store.close();
      const mark = (await closed()).contents.get(MARK) as Uint8Array;
      disk.rot({ key: MARK }, mark.with(at, 7));
      expect(await journalled(disk)).toEqual([
        [G, true],
        ["quiet", false],
      ]);
    }
  });

  it("vouches for the domains of its backend only", async () => {
    const [marked, other] = [await closed(), await closed()];
    const { store } = await openStore(other.backend());
    await store.commit({ created: [meta(["d", "g"])], records: [record(["d", "g"], 0)] });
    await store.close();
    const domains = createDomains({ adapter: marked.backend() });
    domains.configureDomain("d", { adapter: other.backend() });
    await domains.open();
    const rows = await collect(domains.listGroups({ journalled: true }));
    expect(rows.map(({ id, isJournalled }) => [id, isJournalled])).toEqual([
      [G, false],
      ["quiet", false],
      [["d", "g"], true],
    ]);
    await domains.close();
  });
});
