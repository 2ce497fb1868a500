import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Op } from "../backend.ts";
import { checkStorage } from "../check.ts";
import { collect } from "../group-store.test-support.ts";
import { SmallDisk } from "../small-disk.test-support.ts";
import { explainDiskError } from "../disk-error.ts";
import { lmdbStorage } from "./index.ts";
import { pagesNeeded } from "./pages-needed.ts";

/** A linear congruential generator, as of POSIX's rand. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
}

/** A transaction of any shape: long and short keys, values of no byte to 60 KB, deletions, a log that is cut. */
function transaction(random: () => number, log: { from: number; upto: number }): Op[] {
  const ops: Op[] = [];
  for (let count = 1 + Math.floor(random() ** 3 * 300); count > 0; count--) {
    const key = `k${"x".repeat(Math.floor(random() ** 4 * 900))}${Math.floor(random() * 2000)}`;
    const kind = random();
    if (kind < 0.6) ops.push({ op: "put", key, value: new Uint8Array(Math.floor(random() ** 6 * 60_000)).fill(count) });
    else if (kind < 0.8) ops.push({ op: "del", key });
    else if (kind < 0.97) ops.push({ op: "append", log: "l", seq: log.upto++, value: new Uint8Array(300 * random()) });
    else {
      const upto = Math.max(log.from, log.upto - 50);
      ops.push({ op: "truncate", log: "l", from: log.from, upto });
      log.from = upto;
    }
  }
  return ops;
}

it("refuses bad options", () => {
  const bad: [string, object][] = [
    ["", {}],
    ["data", { mapBytes: 10 }],
    ["data", { cache: 1 }],
    ["data", null as never],
  ];
  for (const [location, options] of bad) {
    const open = (): unknown => lmdbStorage(location, options);
    expect(open).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  }
});

it("grows beyond the map that it was opened with", async () => {
  const directory = mkdtempSync(join(tmpdir(), "coppice-lmdb-"));
  await using backend = lmdbStorage(directory, { mapBytes: 1 << 20 });
  await backend.open();
  const value = new Uint8Array(50_000).fill(1);
  for (let index = 0; index < 100; index++) await backend.write([{ op: "put", key: `k${index}`, value }]);
  expect((await backend.getMany(["k0", "k99"])).map((found) => found?.length)).toEqual([50_000, 50_000]);
  await backend.close();
  rmSync(directory, { recursive: true });
});

it("takes as much space as a transaction can need, and not much more for a small one", () => {
  const size = {
    pageSize: 4096,
    lastPageNumber: 10_000,
    treeDepth: 3,
    treeBranchPageCount: 50,
    treeLeafPageCount: 9000,
  };
  expect(pagesNeeded([{ op: "put", key: "a", value: new Uint8Array(200) }], size)).toBeLessThan(150);
  expect(pagesNeeded([{ op: "put", key: "a", value: new Uint8Array(1 << 20) }], size)).toBeGreaterThan(256);
  expect(pagesNeeded([{ op: "truncate", log: "l", from: 0, upto: 1e6 }], size)).toBeGreaterThan(9050);
});

it("meets a full disk itself, so that the engine does not, whatever the transactions", async (test) => {
  using disk = SmallDisk.mount("4000k");
  if (disk === undefined) return test.skip("mounting a file system is not permitted");
  const random = randomFrom(20_261_126);
  const log = { from: 0, upto: 0 };
  const stored = new Map<string, number>();
  await using backend = lmdbStorage(join(disk.directory, "data"));
  await backend.open();
  const reasons = new Map<unknown, number>();
  for (let turn = 0; turn < 400; turn++) {
    const ops = transaction(random, log);
    try {
      await backend.write(ops);
    } catch (error) {
      const { code } = (error as { cause: { code?: unknown } }).cause;
      reasons.set(code, (reasons.get(code) ?? 0) + 1);
      if (turn % 3 === 0) disk.leave(400);
      continue;
    }
    for (const op of ops) {
      if (op.op === "put") stored.set(op.key, op.value.length);
      else if (op.op === "del") stored.delete(op.key);
    }
  }
  // The engine's own errors have numbers.
  expect([...reasons.keys()]).toEqual(["ENOSPC"]);
  expect(reasons.get("ENOSPC")).toBeGreaterThan(20);
  const found = await backend.getMany([...stored.keys()]);
  expect(found.map((value) => value?.length)).toEqual([...stored.values()]);
});

/** Where these lie in a file: its newest header, the root of keys and values, and the leaf with the first of them. */
function firstLeaf(file: Buffer): { meta: number; root: number; leaf: number } {
  const pageBytes = file.readUInt32LE(48);
  const meta = file.readBigUInt64LE(152) > file.readBigUInt64LE(pageBytes + 152) ? 0 : pageBytes;
  const root = Number(file.readBigUInt64LE(meta + 136)) * pageBytes;
  const node = root + 24 + file.readUInt16LE(root + 24);
  return { meta, root, leaf: file.readUIntLE(node, 6) * pageBytes };
}

it("tells of pages that hide what they hold, and of all that the engine would not survive", async () => {
  const directory = mkdtempSync(join(tmpdir(), "coppice-lmdb-"));
  const path = join(directory, "lmdb", "data.mdb");
  await using backend = lmdbStorage(directory);
  await backend.open();
  const ops = Array.from({ length: 1000 }, (_, index): Op => {
    return { op: "append", log: "l", seq: index, value: new Uint8Array(index % 100 === 0 ? 9000 : 40) };
  });
  await backend.write(ops);
  await backend.close();
  const whole = readFileSync(path);
  /** How many entries there are, or what the check says. */
  const readAll = async (): Promise<unknown> => {
    await using opened = lmdbStorage(directory);
    try {
      await opened.open();
      await checkStorage(opened);
      return (await collect(opened.readLog("l", 0))).length;
    } catch (error) {
      return error;
    }
  };
  const { meta, root, leaf } = firstLeaf(whole);
  const node = leaf + 24 + whole.readUInt16LE(leaf + 24);
  const flips: [at: number, bit: number][] = [
    ...Array.from({ length: 26 }, (_, at): [number, number] => [leaf + at, 1 << (at % 8)]),
    ...[root, root + 20, root + 24, node + 1, node + 6, node + 24].map((at): [number, number] => [at, 4]),
    ...[4, 53, 100, 104, 136, 152].map((at): [number, number] => [meta + at, at === 53 ? 0x20 : at === 100 ? 4 : 1]),
  ];
  let told = 0;
  for (const [at, bit] of flips) {
    const flipped = Buffer.from(whole);
    flipped[at] = (flipped[at] ?? 0) ^ bit;
    writeFileSync(path, flipped);
    const found = await readAll();
    if (found === ops.length) continue;
    expect(found, `bit ${bit} of byte ${at}`).toMatchObject({
      code: "CORRUPT",
      message: expect.stringMatching(/LMDB file of lmdb:.* is damaged \(.*\): restore it from a backup/),
    });
    told++;
  }
  expect(told).toBeGreaterThan(25);
  writeFileSync(path, whole);
  await backend.open();
  await backend.checkEngine();
  await expect(backend.checkEngine({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
  await backend.close();
  rmSync(directory, { recursive: true });
});

it("finds nothing wrong with its files, whatever the transactions", async () => {
  const directory = mkdtempSync(join(tmpdir(), "coppice-lmdb-"));
  const random = randomFrom(7);
  const log = { from: 0, upto: 0 };
  await using backend = lmdbStorage(directory);
  await backend.open();
  for (let turn = 0; turn < 100; turn++) {
    await backend.write(transaction(random, log));
    if (turn % 10 === 0) await backend.checkEngine();
  }
  await Promise.all([backend.checkEngine(), backend.write(transaction(random, log)), backend.checkEngine()]);
  await backend.close();
  rmSync(directory, { recursive: true });
});

it("says that it is damaged when the engine finds no page where one should be", () => {
  const cause = new Error("MDB_PAGE_NOTFOUND: Requested page not found");
  expect(explainDiskError("lmdb:data", cause)).toMatchObject({ code: "CORRUPT", cause });
});
