import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Op, StorageBackend } from "./backend.ts";
import { type CheckReport, checkStorage } from "./check.ts";
import { collect, dump, meta, openStore, record, snapshot } from "./group-store.test-support.ts";
import type { GroupSnapshot, GroupStorage } from "./group-storage.ts";
import { inspectGroup, inspectGroups } from "./inspect.ts";
import { lmdbStorage } from "./lmdb/index.ts";
import { memoryStorage } from "./memory.ts";
import { repairStorage } from "./repair.ts";
import { writeBehind } from "./write-behind.ts";

const junk = Uint8Array.of(1, 2, 3);

/**
 * Groups `w/0` to `w/2` with two generations and a journal, of which `w/2` has bodies that lie apart, `new` with a
 * journal only, and a deleted one.
 */
async function stored(): Promise<StorageBackend> {
  const { store, backend } = await openStore(memoryStorage(), { compression: "none" });
  for (let index = 0; index < 3; index++) {
    const id = ["w", index];
    const taken = (seq: number): GroupSnapshot =>
      index < 2 ? snapshot(id, seq) : { ...snapshot(id, seq), body: new Uint8Array(600).fill(seq) };
    await store.commit({ created: [meta(id)], records: [record(id, 0), record(id, 1)] });
    await store.commit({ snapshots: [taken(2)], records: [record(id, 2)] });
    await store.commit({ snapshots: [taken(3)], records: [record(id, 3), record(id, 4)] });
  }
  await store.commit({ created: [meta("new"), meta("gone")], records: [record("new", 0)] });
  await store.commit({ deletions: [meta("gone", 0, 2)] });
  await store.writeNode({ nodeId: "n", starts: 1, clean: true, peers: [] });
  await letGo(store, backend);
  return backend;
}

/** Closes a store, and leaves its backend open. */
async function letGo(store: GroupStorage, backend: StorageBackend): Promise<void> {
  await store.close();
  await backend.open();
}

async function keysOf(backend: StorageBackend, prefix: string): Promise<string[]> {
  return (await collect(backend.scan({ prefix }))).map(({ key }) => key);
}

function summary(report: CheckReport): string[] {
  return report.findings.map(({ kind, group }) => `${kind} ${group}`).sort();
}

describe("checkStorage", () => {
  it("finds nothing where all is well, reads everything, and changes nothing", async () => {
    const backend = await stored();
    const before = await dump(backend);
    const progress: number[] = [];
    const report = await checkStorage(backend, { onProgress: ({ groups }) => progress.push(groups) });
    expect(report).toMatchObject({ groups: 5, damaged: 0, findings: [] });
    // Two records of each group, bodies that lie apart, journal records, both node records.
    expect(report.records).toBe(2 * 5 + 2 + 10 + 2);
    expect(progress).toEqual([5]);
    expect(await dump(backend)).toEqual(before);
    await expect(checkStorage(backend, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("leaves others their turn, and stops when aborted, also where nothing waits for a disk", async () => {
    const directory = await mkdtemp(join(tmpdir(), "coppice-check-"));
    for (const backend of [memoryStorage(), lmdbStorage(directory), writeBehind(memoryStorage())]) {
      const { store } = await openStore(backend);
      await store.commit({ snapshots: Array.from({ length: 5000 }, (_, index) => snapshot(["w", index], 1, 0)) });
      const listing = collect(store.listGroups({ signal: AbortSignal.timeout(5) }));
      await expect(listing).rejects.toMatchObject({ code: "ABORTED" });
      await letGo(store, backend);
      for (const run of [checkStorage, repairStorage]) {
        const signal = AbortSignal.timeout(5);
        await expect(run(backend, { signal })).rejects.toMatchObject({ code: "ABORTED" });
      }
      await backend.close();
    }
    await rm(directory, { recursive: true });
  });

  it("finds the damage of every single record, and names it", async () => {
    const kinds: Record<string, string> = { c: "catalogue", s: "snapshot", n: "node" };
    for (const { key } of await collect((await stored()).scan())) {
      const backend = await stored();
      await backend.write([{ op: "put", key, value: junk }]);
      const { findings, damaged } = await checkStorage(backend);
      expect(damaged).toBe(1);
      expect(findings).toMatchObject([{ kind: kinds[key.charAt(0)], place: key, bytes: 3 }]);
    }
    for (const { log, first, last } of await collect((await stored()).listLogs())) {
      for (let seq = first; seq <= last; seq++) {
        const backend = await stored();
        await backend.write([{ op: "append", log, seq, value: junk }]);
        expect(await checkStorage(backend)).toMatchObject({ damaged: 1, findings: [{ kind: "journal", seq }] });
      }
    }
  });

  it("finds holes, with the position where they begin, lost rows and orphans", async () => {
    const backend = await stored();
    const [range] = await collect(backend.listLogs({ prefix: "tsw!" }));
    const log = range?.log ?? "";
    await backend.write([
      { op: "truncate", log, from: 3, upto: 4 },
      { op: "del", key: "ctsw!ip11!0" },
      { op: "del", key: "ctsw!ip11!1" },
      { op: "put", key: "stsw!ip10!110", value: junk },
      { op: "put", key: "cs!", value: junk },
      { op: "append", log: "snew!12", seq: 0, value: junk },
    ]);
    const report = await checkStorage(backend);
    expect(summary(report)).toEqual([
      "catalogue undefined",
      "catalogue w/:1",
      "journal w/:0",
      "orphan new",
      "orphan w/:0",
    ]);
    expect(report.findings.find(({ kind }) => kind === "journal")).toMatchObject({ seq: 4, position: 3 });
  });
});

describe("repairStorage", () => {
  it("repairs what can be repaired, keeps every damaged byte, and names the groups that need peers", async () => {
    const backend = await stored();
    const damage: Op[] = [
      // The newest record of one, the older one of another, the older body of a third.
      { op: "put", key: "ctsw!ip10!0", value: junk },
      { op: "put", key: "ctsw!ip11!1", value: junk },
      { op: "put", key: "stsw!ip12!111", value: junk },
      { op: "put", key: "csnew!0", value: junk },
      { op: "put", key: "csgone!1", value: junk },
      { op: "put", key: "cs!", value: junk },
      { op: "put", key: "na", value: junk },
    ];
    await backend.write(damage);
    const report = await repairStorage(backend);
    expect(summary(report.before)).toEqual([
      "catalogue gone",
      "catalogue new",
      "catalogue undefined",
      "catalogue w/:0",
      "catalogue w/:1",
      "node undefined",
      "snapshot w/:2",
    ]);
    expect(report.after.damaged).toBe(0);
    // Of a group with one whole record it is not known whether the other one was newer.
    expect(report.degraded).toEqual(["new", "w/:0", "w/:1"]);
    const { store } = await openStore(backend);
    for (const id of [
      ["w", 0],
      ["w", 1],
      ["w", 2],
    ]) {
      expect(await store.load(id)).toMatchObject({ nextPosition: 5, damage: [] });
    }
    expect(await store.row("gone")).toMatchObject({ epoch: 2 });
    expect(await store.readNode()).toMatchObject({ nodeId: "n" });
    expect(await keysOf(backend, "q")).toHaveLength(7);
    await expect(repairStorage(backend)).rejects.toMatchObject({ code: "LOCKED" });
    await letGo(store, backend);
    expect((await repairStorage(backend)).before.damaged).toBe(0);
  });

  it("changes nothing while a store has the backend", async () => {
    const backend = await stored();
    await backend.write([{ op: "put", key: "zzz", value: junk }]);
    const { store } = await openStore(backend);
    const before = await dump(backend);
    await expect(repairStorage(backend)).rejects.toMatchObject({ code: "LOCKED" });
    expect(await dump(backend)).toEqual(before);
    await store.close();
  });

  it("repairs more than a report names", async () => {
    const { store, backend } = await openStore();
    const records = Array.from({ length: 10_000 }, (_, index) => record("a", index));
    await store.commit({ created: [meta("a"), meta("b")], records: [...records, record("b", 0)] });
    await letGo(store, backend);
    await backend.write(records.map((_, seq) => ({ op: "append", log: "sa!11", seq, value: junk })));
    await backend.write([{ op: "append", log: "sb!11", seq: 0, value: junk }]);
    const { before, after, degraded } = await repairStorage(backend);
    expect(before).toMatchObject({ damaged: 10_001, findings: { length: 10_000 } });
    expect(after.damaged).toBe(0);
    expect(degraded).toEqual(["a", "b"]);
  });

  it("restores the records of a group from the bodies that lie apart", async () => {
    const backend = await stored();
    await backend.write(["0", "1"].map((slot) => ({ op: "del", key: `ctsw!ip12!${slot}` })));
    const report = await repairStorage(backend);
    expect(summary(report.before)).toEqual(["catalogue w/:2"]);
    expect(report).toMatchObject({ after: { damaged: 0 }, degraded: [] });
    expect(await (await openStore(backend)).store.load(["w", 2])).toMatchObject({ nextPosition: 5, damage: [] });
  });

  it("leaves nothing for another repair when it made a group unknown, or a body unused", async () => {
    const backend = await stored();
    await backend.write([
      ...["0", "1"].map((slot): Op => ({ op: "put", key: `ctsw!ip10!${slot}`, value: junk })),
      { op: "put", key: "stsw!ip12!110", value: junk },
      { op: "put", key: "stsw!ip12!111", value: junk },
    ]);
    const report = await repairStorage(backend);
    expect(report.before.damaged).toBeGreaterThan(0);
    expect(report.after.damaged).toBe(0);
    expect((await repairStorage(backend)).before).toMatchObject({ damaged: 0 });
  });

  it("moves aside what belongs to no group, journals of epochs that never were, and damaged superseded states", async () => {
    const backend = await stored();
    const strays: Op[] = [
      { op: "put", key: "stsnone!ip11!111", value: junk },
      { op: "append", log: "tsnone!ip12!11", seq: 4, value: junk },
      { op: "append", log: "tsnone!ip12!11", seq: 5, value: junk },
      { op: "append", log: "tsw!ip10!10", seq: 0, value: junk },
      { op: "append", log: "tsw!ip10!13", seq: 0, value: junk },
      { op: "append", log: "nothing", seq: 0, value: junk },
      { op: "put", key: "s?", value: junk },
      { op: "put", key: "osgone!11", value: junk },
      { op: "put", key: "zzz", value: junk },
    ];
    await backend.write(strays);
    const report = await repairStorage(backend);
    expect(summary(report.before)).toEqual([
      "catalogue none/:1",
      "catalogue none/:2",
      "orphan undefined",
      "orphan undefined",
      "orphan undefined",
      "orphan w/:0",
      "orphan w/:0",
      "superseded gone",
    ]);
    expect(report.after.damaged).toBe(0);
    expect(await keysOf(backend, "q")).toHaveLength(strays.length);
    expect(await (await openStore(backend)).store.load(["w", 0])).toMatchObject({ nextPosition: 5, damage: [] });
  });

  it("removes leftovers of deleted epochs, and moves bodies aside that no record refers to", async () => {
    const backend = await stored();
    await backend.write([
      { op: "put", key: "ssgone!111", value: junk },
      { op: "append", log: "sgone!11", seq: 0, value: junk },
      { op: "put", key: "stsw!ip10!110", value: junk },
    ]);
    expect((await repairStorage(backend)).after.damaged).toBe(0);
    expect(await keysOf(backend, "q")).toHaveLength(1);
  });
});

describe("inspect", () => {
  it("shows every record of a group", async () => {
    const backend = await stored();
    const inspection = await inspectGroup(backend, ["w", 1]);
    expect(inspection?.row).toMatchObject({ type: "counter", journalPosition: 3 });
    expect(
      inspection?.snapshots.map(({ key, generation, journalPosition }) => [key, generation, journalPosition]),
    ).toEqual([
      ["ctsw!ip11!0", 2, 3],
      ["ctsw!ip11!1", 1, 2],
    ]);
    expect(inspection?.journal.map(({ seq, position, count }) => [seq, position, count])).toEqual([
      [2, 2, 1],
      [3, 3, 1],
      [4, 4, 1],
    ]);
    expect(inspection?.quarantined).toEqual([]);
    expect(await inspectGroup(backend, "nothing")).toBeUndefined();
  });

  it("shows damage, and all groups by prefix", async () => {
    const backend = await stored();
    await backend.write([{ op: "put", key: "ctsw!ip10!1", value: junk }]);
    await backend.write(["0", "1"].map((slot) => ({ op: "put", key: `ctsw!ip12!${slot}`, value: junk })));
    const all = [];
    for await (const inspection of inspectGroups(backend, { prefix: ["w"] })) all.push(inspection);
    expect(all.map(({ id }) => id)).toEqual([
      ["w", 0],
      ["w", 1],
      ["w", 2],
    ]);
    expect(all[0]?.snapshots[1]).toMatchObject({ damage: expect.stringContaining("bytes"), bytes: 3 });
    expect(all[0]?.row).toMatchObject({ journalPosition: 3 });
    const damaged = { damage: expect.any(String), generation: undefined };
    expect(all[2]).toMatchObject({
      row: undefined,
      snapshots: [damaged, damaged, { generation: 2 }, { generation: 1 }],
    });
  });

  it("of an empty store shows nothing", async () => {
    const backend = memoryStorage();
    await backend.open();
    expect(await collect(backend.scan())).toEqual([]);
    expect(await checkStorage(backend)).toMatchObject({ groups: 0, records: 0 });
  });
});
