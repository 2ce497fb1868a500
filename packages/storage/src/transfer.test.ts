import { mkdtemp, rm } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { exportGroups, type ExportOptions, resumeExport, type TransferProgress } from "./export.ts";
import type { GroupStorage } from "./group-storage.ts";
import { createGroupStore } from "./group-store.ts";
import { collect, meta, openStore, record, snapshot } from "./group-store.test-support.ts";
import { importGroups } from "./import.ts";
import { levelStorage } from "./level/index.ts";
import { lmdbStorage } from "./lmdb/index.ts";
import { memoryStorage } from "./memory.ts";
import { sqliteStorage } from "./sqlite/index.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";
import { writeBehind } from "./write-behind.ts";

async function stored(): Promise<GroupStorage> {
  const { store } = await openStore();
  for (let index = 0; index < 5; index++) {
    const id = ["w", index];
    await store.commit({ created: [meta(id)], records: [record(id, 0, 3), record(id, 3, 2)] });
    if (index % 2 === 0)
      await store.commit({ snapshots: [{ ...snapshot(id, 4), body: new Uint8Array(3000).fill(index) }] });
  }
  await store.commit({ created: [meta("gone"), meta("x")] });
  await store.commit({ deletions: [meta("gone", 0, 2)] });
  return store;
}

async function bytesOf(storage: GroupStorage, options?: ExportOptions): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportGroups(storage, options)) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

/** The stream in chunks of one size. */
async function* stream(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** What matters of every group, whatever the positions. */
async function contents(storage: GroupStorage): Promise<unknown[]> {
  const all = [];
  for (const row of await collect(storage.listGroups({ deleted: true }))) {
    const group = await storage.load(row.id);
    const { id, type, epoch, vector, digest, time, frontier } = row;
    const records = group?.records.map(({ count, bytes }) => [count, Buffer.from(bytes).toString()]);
    const body = group?.snapshot && Buffer.from(group.snapshot.body).toString("hex");
    all.push({ id, type, epoch, vector: vector.toJSON(), digest, time, frontier, records, body });
  }
  return all;
}

/** Digests for groups that begin a new epoch. */
const NEW = { digest: ({ epoch }: { epoch: number }) => [epoch, 7] as const };

describe("export and import", () => {
  it("carry every group, tombstones included, from one backend to another, whatever the chunks", async () => {
    const from = await stored();
    const bytes = await bytesOf(from);
    const directory = await mkdtemp(join(tmpdir(), "coppice-import-"));
    const level = createGroupStore(levelStorage(directory));
    await level.open();
    const report = await importGroups(level, stream(bytes, 7));
    expect(report).toMatchObject({ groups: 7, imported: 6, deleted: 1, present: 0, skipped: 0, overwritten: 0 });
    expect(await contents(level)).toEqual(await contents(from));
    expect((await importGroups(level, stream(bytes))).present).toBe(7);
    expect(await bytesOf(level)).toEqual(bytes);
    await level.close();
    await rm(directory, { recursive: true });
  });

  it("carry every group through every backend there is, and change nothing on the way", async () => {
    const directory = await mkdtemp(join(tmpdir(), "coppice-transfer-"));
    const backends = [
      levelStorage(join(directory, "level")),
      lmdbStorage(join(directory, "lmdb")),
      ...(isBuiltin("node:sqlite") ? [sqliteStorage(join(directory, "sqlite"))] : []),
      writeBehind(levelStorage(join(directory, "behind")), { autoSaveMs: "never" }),
      new SimulatedDisk().backend(),
      memoryStorage(),
    ];
    const from = await stored();
    const [whole, expected] = [await bytesOf(from), await contents(from)];
    let previous = from;
    for (const backend of backends) {
      const next = createGroupStore(backend);
      await next.open();
      expect(await importGroups(next, exportGroups(previous))).toMatchObject({ groups: 7, imported: 6, deleted: 1 });
      expect(await contents(next)).toEqual(expected);
      await previous.close();
      previous = next;
    }
    expect(await bytesOf(previous)).toEqual(whole);
    await rm(directory, { recursive: true });
  });

  it("go on while groups are written, created and deleted: each group is in it as of one moment", async () => {
    const from = await stored();
    for (let index = 5; index < 40; index++) await from.commit({ created: [meta(["w", index])] });
    const next = new Map<number, number>();
    let index = 0;
    const write = async (): Promise<void> => {
      const id = ["w", 5 + (index++ % 35)];
      const position = next.get(index % 35) ?? 0;
      next.set(index % 35, position + 2);
      await from.commit({ records: [record(id, position), record(id, position + 1)] });
      if (index % 5 === 0) await from.commit({ snapshots: [snapshot(id, position + 2)] });
      if (index % 11 === 0) await from.commit({ created: [meta(["v", index])], records: [record(["v", index], 0)] });
    };
    const chunks: Uint8Array[] = [];
    for await (const chunk of exportGroups(from)) {
      chunks.push(chunk);
      for (let writes = 0; writes < 10; writes++) await write();
      if (chunks.length === 20) await from.commit({ deletions: [meta(["w", 39], 0, 2)] });
    }
    const { store } = await openStore();
    const report = await importGroups(store, stream(new Uint8Array(Buffer.concat(chunks))));
    expect(report.groups).toBeGreaterThanOrEqual(41);
    // The deletion came while the export ran, so it may be in it or not.
    expect([1, 2]).toContain((await store.row(["w", 39]))?.epoch);
    for (const row of await collect(store.listGroups({ prefix: ["w"] }))) {
      const group = await store.load(row.id);
      expect(group?.damage).toEqual([]);
      // Two records a commit: an odd number would be a part of one.
      const events = group?.nextPosition ?? 0;
      expect(Number(row.id[1]) < 5 || events % 2 === 0).toBe(true);
    }
  });

  it("can be limited to a prefix or to one group, on both sides", async () => {
    const from = await stored();
    const count = async (options: ExportOptions, prefix?: string[]): Promise<number> => {
      const { store } = await openStore();
      const bytes = stream(await bytesOf(from, options));
      return (await importGroups(store, bytes, prefix === undefined ? {} : { prefix })).groups;
    };
    expect(await count({ prefix: ["w"] })).toBe(5);
    expect(await count({ id: ["w", 3] })).toBe(1);
    expect(await count({ id: "nothing" })).toBe(0);
    expect(await count({}, ["w"])).toBe(5);
  });

  it("refuse to overwrite unless told, and overwrite under a new epoch", async () => {
    const bytes = await bytesOf(await stored(), { id: ["w", 2] });
    const { store } = await openStore();
    await store.commit({ snapshots: [snapshot(["w", 2], 9, 0)] });
    await expect(importGroups(store, stream(bytes))).rejects.toMatchObject({ code: "EXISTS" });
    expect(await importGroups(store, stream(bytes), { skipExisting: true })).toMatchObject({ skipped: 1 });
    expect(await store.row(["w", 2])).toMatchObject({ epoch: 1, time: 1009 });
    expect(await importGroups(store, stream(bytes), { overwrite: NEW })).toMatchObject({ overwritten: 1 });
    expect(await store.row(["w", 2])).toMatchObject({ epoch: 3, time: 1004, digest: [3, 7] });
    expect((await store.load(["w", 2]))?.snapshot?.body[0]).toBe(2);
  });

  it("refuse to overwrite what a later epoch of the export would replace, too", async () => {
    const from = await stored();
    await from.commit({ deletions: [meta("x", 0, 2)] });
    const deleted = await bytesOf(from, { id: "x" });
    await from.commit({ snapshots: [snapshot("x", 5, 0, 3)] });
    const renewed = await bytesOf(from, { id: "x" });
    for (const [bytes, outcome, epoch] of [
      [deleted, "deleted", 2],
      [renewed, "overwritten", 3],
    ] as const) {
      const { store } = await openStore();
      await store.commit({ snapshots: [snapshot("x", 9, 0)] });
      await expect(importGroups(store, stream(bytes))).rejects.toMatchObject({ code: "EXISTS" });
      expect(await importGroups(store, stream(bytes), { skipExisting: true })).toMatchObject({ skipped: 1 });
      expect(await store.row("x")).toMatchObject({ epoch: 1, time: 1009 });
      expect(await importGroups(store, stream(bytes), { overwrite: NEW })).toMatchObject({ [outcome]: 1 });
      expect(await store.row("x")).toMatchObject({ epoch });
      expect(await importGroups(store, stream(bytes), { overwrite: NEW })).toMatchObject({ present: 1 });
    }
  });

  it("take a group that was deleted here later as deleted, and delete one that is there again only when told", async () => {
    const bytes = await bytesOf(await stored(), { id: "gone" });
    const { store } = await openStore();
    await store.commit({ deletions: [meta("gone", 0, 4)] });
    expect(await importGroups(store, stream(bytes))).toMatchObject({ present: 1, deleted: 0 });
    await store.commit({ created: [meta("gone", 0, 5)] });
    await expect(importGroups(store, stream(bytes))).rejects.toMatchObject({ code: "EXISTS" });
    expect(await importGroups(store, stream(bytes), { overwrite: NEW })).toMatchObject({ deleted: 1 });
    expect(await store.row("gone")).toMatchObject({ epoch: 6, digest: [6, 7] });
    await store.commit({ created: [meta("gone", 0, 7)] });
    expect(await importGroups(store, stream(bytes), { overwrite: NEW, renew: NEW })).toMatchObject({ deleted: 1 });
  });

  it("do not bring back what was deleted since", async () => {
    const bytes = await bytesOf(await stored(), { id: "x" });
    const { store } = await openStore();
    await store.commit({ deletions: [meta("x", 0, 2)] });
    await expect(importGroups(store, stream(bytes))).rejects.toMatchObject({
      code: "EXISTS",
      message: /deleted since/,
    });
    expect(await store.load("x")).toBeUndefined();
  });

  it("go on where they were cut short, at every byte", async () => {
    const from = await stored();
    const whole = await bytesOf(from);
    for (let cut = 8; cut < whole.length; cut += 37) {
      const part = whole.subarray(0, cut);
      const resume = await resumeExport(stream(part));
      const rest = await bytesOf(from, { resume });
      expect(Buffer.concat([part.subarray(0, resume.bytes), rest]).equals(whole)).toBe(true);
      const { store } = await openStore();
      await expect(importGroups(store, stream(part))).rejects.toMatchObject({ code: "CORRUPT" });
      const report = await importGroups(store, stream(whole));
      expect(report.present + report.imported + report.deleted).toBe(7);
    }
    await expect(resumeExport(stream(whole))).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    for (const other of [new Uint8Array(100), whole.subarray(0, 7), new Uint8Array(0)]) {
      await expect(resumeExport(stream(other))).rejects.toMatchObject({ code: "CORRUPT" });
    }
  });

  it("notice blocks that are lost, doubled or in another order, and what follows the end", async () => {
    const blocks: Uint8Array[] = [];
    for await (const chunk of exportGroups(await stored())) blocks.push(chunk);
    const [header, first, second, ...rest] = blocks as [Uint8Array, Uint8Array, Uint8Array];
    const streams = [
      [header, second, first, ...rest],
      [header, second, ...rest],
      [header, first, first, second, ...rest],
      [header, header, first, second, ...rest],
      [first, second, ...rest],
      [...blocks, ...blocks],
      [...blocks, new Uint8Array(1)],
    ];
    for (const chunks of streams) {
      const { store } = await openStore();
      const bytes = new Uint8Array(Buffer.concat(chunks));
      for (const size of [3, 1e6]) {
        await expect(importGroups(store, stream(bytes, size))).rejects.toMatchObject({ code: "CORRUPT" });
      }
    }
  });

  it("close the stream, whether they come to its end, fail or only look where to go on", async () => {
    const whole = await bytesOf(await stored());
    let open = 0;
    async function* counted(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
      open++;
      try {
        yield* stream(bytes, 100);
        // A source that does not know its end before it is asked once more.
        yield new Uint8Array(0);
      } finally {
        open--;
      }
    }
    const { store } = await openStore();
    await importGroups(store, counted(whole));
    for (const bytes of [whole.subarray(0, 500), whole.toReversed()]) {
      await expect(importGroups(store, counted(bytes))).rejects.toMatchObject({ code: "CORRUPT" });
    }
    const signal = AbortSignal.abort();
    await expect(importGroups(store, counted(whole), { signal })).rejects.toMatchObject({ code: "ABORTED" });
    await resumeExport(counted(whole.subarray(0, 500)));
    expect(open).toBe(0);
  });

  it("notice every flipped bit", async () => {
    const whole = await bytesOf(await stored(), { prefix: ["w", 1] });
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const flipped = whole.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const { store } = await openStore();
      const failure = await importGroups(store, stream(flipped)).catch((error: unknown) => error);
      expect(["CORRUPT", "UNSUPPORTED_FORMAT"]).toContain((failure as { code?: unknown }).code);
    }
  });

  it("never throw anything untyped at garbage", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (garbage) => {
        const { store } = await openStore();
        const header = (await bytesOf(store)).subarray(0, 8);
        const input = stream(new Uint8Array(Buffer.concat([header, garbage])));
        await expect(importGroups(store, input)).rejects.toMatchObject({ code: "CORRUPT" });
      }),
      { numRuns: 300 },
    );
  });

  it("report progress", async () => {
    const from = await stored();
    const seen: TransferProgress[] = [];
    const onExport = (progress: TransferProgress): void => void seen.push(progress);
    const bytes = await bytesOf(from, { onProgress: onExport });
    expect(seen.map(({ groups }) => groups)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const resume = await resumeExport(stream(bytes.subarray(0, (seen[4]?.bytes ?? 0) + 1)));
    await bytesOf(from, { resume, onProgress: onExport });
    expect(seen.slice(7)).toEqual(seen.slice(5, 7));
  });

  it("import many groups together, and stop between two lots when aborted", async () => {
    const { store: from } = await openStore();
    await from.commit({ snapshots: Array.from({ length: 1200 }, (_, index) => snapshot(["w", index], 1, 0)) });
    const bytes = await bytesOf(from);
    const { store, backend } = await openStore();
    const write = vi.spyOn(backend, "write");
    const seen: number[] = [];
    await importGroups(store, stream(bytes), { onProgress: ({ groups }) => seen.push(groups) });
    expect(write.mock.calls.length).toBeLessThan(10);
    expect(seen).toEqual([500, 1000, 1200]);
    const { store: other } = await openStore();
    const controller = new AbortController();
    const onProgress = (): void => controller.abort();
    const aborted = importGroups(other, stream(bytes), { onProgress, signal: controller.signal });
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
    expect(await collect(other.listGroups())).toHaveLength(500);
  });

  it("import what comes before a group that is refused, and nothing behind it", async () => {
    const bytes = await bytesOf(await stored());
    const { store } = await openStore();
    await store.commit({ snapshots: [snapshot(["w", 2], 9, 0)] });
    await expect(importGroups(store, stream(bytes))).rejects.toMatchObject({ code: "EXISTS" });
    const ids = (await collect(store.listGroups({ deleted: true }))).map(({ id }) => id);
    expect(ids).toEqual(["gone", "x", ["w", 0], ["w", 1], ["w", 2]]);
  });

  it("stops at once when aborted, also while nothing more comes from its source", async () => {
    const bytes = await bytesOf(await stored());
    const { store } = await openStore();
    let hasEnded = false;
    const stuck: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => {
        const chunks = [bytes.subarray(0, bytes.length / 2)];
        return {
          next: async () => ({ done: false, value: chunks.pop() ?? (await new Promise<never>(() => {})) }),
          return: async () => ({ done: (hasEnded = true), value: undefined }),
        };
      },
    };
    const controller = new AbortController();
    const importing = importGroups(store, stuck, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await expect(importing).rejects.toMatchObject({ code: "ABORTED" });
    expect(hasEnded).toBe(true);
  });
});
