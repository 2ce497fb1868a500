import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Level } from "level";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkStorage } from "../check.ts";
import { meta, openStore, record } from "../group-store.test-support.ts";
import { repairStorage } from "../repair.ts";
import { levelStorage } from "./index.ts";
import { BLOCK_BYTES, findRot } from "./log-file.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "coppice-log-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** What LevelDB itself logs of `writes`, each of so many bytes. */
async function logged(writes: readonly number[]): Promise<Uint8Array> {
  {
    await using level = new Level<string, Uint8Array>(join(directory, "raw"), { valueEncoding: "view" });
    for (const [index, bytes] of writes.entries()) await level.put(`k${index}`, new Uint8Array(bytes).fill(index + 1));
  }
  const names = (await readdir(join(directory, "raw"))).filter((name) => name.endsWith(".log"));
  return new Uint8Array(await readFile(join(directory, "raw", names[0] ?? "")));
}

async function rotIn(log: Uint8Array): Promise<number | undefined> {
  async function* blocks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < log.length; at += BLOCK_BYTES) yield log.subarray(at, at + BLOCK_BYTES);
  }
  return await findRot(blocks());
}

function flipped(log: Uint8Array, bit: number): Uint8Array {
  const copy = log.slice();
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

describe("findRot", () => {
  it("notices every flipped bit, but for one that makes the last record look cut short", async () => {
    const log = await logged([1, 20, 30, 5]);
    expect(await rotIn(log)).toBeUndefined();
    const unseen: number[] = [];
    for (let bit = 0; bit < log.length * 8; bit++) if ((await rotIn(flipped(log, bit))) === undefined) unseen.push(bit);
    // The key, the value, and what LevelDB puts before them.
    const last = log.length - 7 - (12 + 1 + 1 + 2 + 1 + 5);
    const lengths = unseen.filter((bit) => bit >> 3 === last + 4 || bit >> 3 === last + 5);
    expect(unseen).toEqual(lengths);
    expect(unseen.length).toBeLessThan(16);
  });

  it("takes a log that a crash cut short for whole, wherever that was", async () => {
    const log = await logged([1, 20, 300]);
    for (let length = 0; length < log.length; length++) expect(await rotIn(log.subarray(0, length))).toBeUndefined();
    expect(await rotIn(new Uint8Array([...log, ...new Uint8Array(50)]))).toBeUndefined();
  });

  it("notices rot in writes that go over blocks, and what a power cut left out before others", async () => {
    const log = await logged([40_000, 100, 70_000]);
    expect(await rotIn(log)).toBeUndefined();
    for (let at = 3; at < log.length; at += 1009) expect(await rotIn(flipped(log, 8 * at))).toBeTypeOf("number");
    for (const at of [0, BLOCK_BYTES, 2 * BLOCK_BYTES]) {
      expect(await rotIn(log.slice().fill(0, at, at + BLOCK_BYTES))).toBe(at);
    }
  });
});

describe("levelStorage on a log that has rotted", () => {
  /** Three groups with a journal, and a flipped bit in the log that holds them. */
  async function rotten(): Promise<string> {
    const { store } = await openStore(levelStorage(directory));
    for (const id of ["a", "b", "c"]) await store.commit({ created: [meta(id)], records: [record(id, 0)] });
    await store.close();
    const names = (await readdir(join(directory, "db"))).filter((name) => name.endsWith(".log"));
    const path = join(directory, "db", names[0] ?? "");
    await writeFile(path, flipped(await readFile(path), 8 * 100));
    return path;
  }

  const kept = async (): Promise<readonly string[]> => await readdir(join(directory, "rotten"));

  it("tells the store that opens it, keeps the log, and tells no other", async () => {
    await rotten();
    const { store, damage } = await openStore(levelStorage(directory));
    expect(damage).toMatchObject([{ id: undefined, record: "engine", action: "quarantined" }]);
    expect(damage[0]?.reason).toMatch(/rotten\/\d+-\d+\.log: it has rotted at byte 0/);
    await store.close();
    expect(await kept()).toHaveLength(1);
    expect((await openStore(levelStorage(directory))).damage).toEqual([]);
  });

  it("is damage for a check and a repair, and moved aside for the next one", async () => {
    await rotten();
    await using backend = levelStorage(directory);
    await backend.open();
    const { before, after } = await repairStorage(backend);
    expect(before.findings.filter(({ kind }) => kind === "engine")).toHaveLength(1);
    expect(after).toMatchObject({ damaged: 0, findings: [{ kind: "quarantined", bytes: expect.any(Number) }] });
    await backend.close();
    await backend.open();
    expect((await checkStorage(backend)).damaged).toBe(0);
  });

  it("tells of it also where the log cannot be kept", async () => {
    const path = await rotten();
    const copy = `${basename(path, ".log")}-${Math.trunc((await stat(path)).mtimeMs)}.log`;
    await mkdir(join(directory, "rotten", copy), { recursive: true });
    await using backend = levelStorage(directory);
    await backend.open();
    expect(backend.rottenFiles[0]).toMatchObject({ place: path, rottenAt: 0 });
  });
});
