import { describe, expect, it } from "vitest";
import type { Op, StorageBackend } from "./backend.ts";
import { type CheckReport, checkStorage } from "./check.ts";
import { collect, dump, meta, openStore, record, snapshot } from "./group-store.test-support.ts";
import { inspectGroup, inspectGroups } from "./inspect.ts";
import { memoryStorage } from "./memory.ts";
import { repairStorage } from "./repair.ts";

const junk = Uint8Array.of(1, 2, 3);

/** Groups `w/0` to `w/2` with two generations and a journal, `new` with a journal only, and a deleted one. */
async function stored(): Promise<StorageBackend> {
  const { store, backend } = await openStore();
  for (let index = 0; index < 3; index++) {
    const id = ["w", index];
    await store.commit({ created: [meta(id)], records: [record(id, 0), record(id, 1)] });
    await store.commit({ snapshots: [snapshot(id, 2)], records: [record(id, 2)] });
    await store.commit({ snapshots: [snapshot(id, 3)], records: [record(id, 3), record(id, 4)] });
  }
  await store.commit({ created: [meta("new"), meta("gone")], records: [record("new", 0)] });
  await store.commit({ deletions: [meta("gone", 0, 2)] });
  await store.writeNode({ nodeId: "n", starts: 1, clean: true, peers: [] });
  return backend;
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
    // Rows, copies of those without two snapshots, snapshots, journal records, both node records.
    expect(report.records).toBe(5 + 2 + 6 + 10 + 2);
    expect(progress).toEqual([5]);
    expect(await dump(backend)).toEqual(before);
    await expect(checkStorage(backend, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("finds the damage of every single record, and names it", async () => {
    const kinds: Record<string, string> = { c: "catalogue", b: "copy", s: "snapshot", n: "node" };
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
      { op: "del", key: "ctsw!ip11!" },
      { op: "put", key: "stsw!ip12!111f", value: junk },
      { op: "append", log: "snew!12", seq: 0, value: junk },
    ]);
    const report = await checkStorage(backend);
    expect(summary(report)).toEqual(["catalogue w/:1", "journal w/:0", "orphan new", "orphan w/:2"]);
    expect(report.findings.find(({ kind }) => kind === "journal")).toMatchObject({ seq: 4, position: 3 });
  });
});

describe("repairStorage", () => {
  it("repairs what can be repaired, keeps every damaged byte, and names the groups that need peers", async () => {
    const backend = await stored();
    const [older, newer] = await keysOf(backend, "stsw!ip10!");
    const [olderOne] = await keysOf(backend, "stsw!ip11!");
    const damage: Op[] = [
      { op: "put", key: newer ?? "", value: junk },
      { op: "put", key: olderOne ?? "", value: junk },
      { op: "del", key: "ctsw!ip12!" },
      { op: "put", key: "bsnew!", value: junk },
      { op: "put", key: "csgone!", value: junk },
      { op: "put", key: "na", value: junk },
    ];
    await backend.write(damage);
    const report = await repairStorage(backend);
    expect(summary(report.before)).toEqual([
      "catalogue gone",
      "catalogue w/:2",
      "copy new",
      "node undefined",
      "snapshot w/:0",
      "snapshot w/:1",
    ]);
    expect(report.after.damaged).toBe(0);
    expect(report.degraded).toEqual(["w/:0"]);
    expect(older).toBeDefined();
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
    expect(await keysOf(backend, "q")).toHaveLength(4);
    expect((await repairStorage(backend)).before.damaged).toBe(0);
  });

  it("removes leftovers of deleted epochs, and moves unknown generations aside", async () => {
    const backend = await stored();
    await backend.write([
      { op: "put", key: "ssgone!1111", value: junk },
      { op: "append", log: "sgone!11", seq: 0, value: junk },
      { op: "put", key: "stsw!ip12!111f", value: junk },
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
    expect(inspection?.snapshots.map(({ generation, journalPosition }) => [generation, journalPosition])).toEqual([
      [1, 2],
      [2, 3],
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
    const [key = ""] = await keysOf(backend, "stsw!ip10!");
    await backend.write([{ op: "put", key, value: junk }]);
    await backend.write([{ op: "put", key: "ctsw!ip12!", value: junk }]);
    const all = [];
    for await (const inspection of inspectGroups(backend, { prefix: ["w"] })) all.push(inspection);
    expect(all.map(({ id }) => id)).toEqual([
      ["w", 0],
      ["w", 1],
      ["w", 2],
    ]);
    expect(all[0]?.snapshots[0]).toMatchObject({ damage: expect.stringContaining("bytes"), bytes: 3 });
    expect(all[2]).toMatchObject({ row: undefined, snapshots: [{ generation: 1 }, { generation: 2 }] });
  });

  it("of an empty store shows nothing", async () => {
    const backend = memoryStorage();
    await backend.open();
    expect(await collect(backend.scan())).toEqual([]);
    expect(await checkStorage(backend)).toMatchObject({ groups: 0, records: 0 });
  });
});
