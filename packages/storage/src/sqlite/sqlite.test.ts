import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Op } from "../backend.ts";
import { sqliteStorage } from "./index.ts";

const threads: Worker[] = vi.hoisted(() => []);
vi.mock(import("node:worker_threads"), async (original) => {
  const actual = await original();
  class Noted extends actual.Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      threads.push(this);
    }
  }
  return { ...actual, Worker: Noted };
});

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "coppice-sqlite-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

type Put = Extract<Op, { op: "put" }>;
const put = (key: string, value = Uint8Array.of(1)): Put => ({ op: "put", key, value });
const many = (count: number): Put[] =>
  Array.from({ length: count }, (_, index) => put(`k${index}`, new Uint8Array(100)));

it("refuses bad options", () => {
  for (const [location, options] of [
    ["", {}],
    ["data", { cache: 1 }],
    ["data", null],
  ] as const) {
    expect(() => sqliteStorage(location, options as object)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS" }),
    );
  }
});

it.skipIf(isBuiltin("node:sqlite"))("says what it needs where there is no node:sqlite", async () => {
  const failure = { code: "IO", message: expect.stringMatching(/no node:sqlite: it needs Node.js 22\.13/) };
  await expect(sqliteStorage(directory).open()).rejects.toMatchObject(failure);
});

// Node.js 20 has no node:sqlite.
describe.skipIf(!isBuiltin("node:sqlite"))("the thread of a SQLite backend", () => {
  /** Makes the thread end as a crash does. */
  const crash = async (): Promise<void> => void (await threads.at(-1)?.terminate());

  it("leaves the event loop free while it writes", async () => {
    await using backend = sqliteStorage(directory);
    await backend.open();
    let turns = 0;
    let writing = true;
    const turn = (): void => {
      turns++;
      if (writing) setImmediate(turn);
    };
    setImmediate(turn);
    await backend.write(many(5000), { sync: true });
    writing = false;
    expect(turns).toBeGreaterThan(10);
  });

  it("that crashes fails what is under way with IO, all or nothing, and the next operation starts another", async () => {
    await using backend = sqliteStorage(directory);
    await backend.open();
    await backend.write([put("acknowledged")]);
    const failure = { code: "IO", message: expect.stringMatching(/the SQLite thread has ended/) };
    const reading = backend.get("acknowledged").catch((error: unknown) => error);
    await crash();
    expect(await reading).toMatchObject(failure);
    expect(await backend.get("acknowledged")).toEqual(Uint8Array.of(1));
    for (let turns = 0; turns < 8; turns++) {
      const writing = backend.write(many(5000)).then(
        () => "done",
        (error: { code: string }) => error.code,
      );
      // At a different place each time: before it begins, or in the middle.
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      await crash();
      const there = (await backend.getMany(["k0", "k2500", "k4999"])).filter((value) => value !== undefined).length;
      expect(await writing).toBe(there === 3 ? "done" : "IO");
      expect([0, 3]).toContain(there);
      await backend.write(many(5000).map(({ key }) => ({ op: "del", key })));
    }
    await backend.write([put("after")], { sync: true });
    await crash();
    const keys: string[] = [];
    for await (const page of backend.scan()) keys.push(...page.map(({ key }) => key));
    expect(keys).toEqual(["acknowledged", "after"]);
  });

  it("that crashed keeps nobody from closing, nor from opening again", async () => {
    await using backend = sqliteStorage(directory);
    await backend.open();
    await backend.write([put("a")]);
    await crash();
    await backend.close();
    await using another = sqliteStorage(directory);
    await another.open();
    expect(await another.get("a")).toEqual(Uint8Array.of(1));
  });

  it("has ended when the backend is closed, and when opening failed", async () => {
    await using backend = sqliteStorage(directory);
    await backend.open();
    await backend.close();
    await writeFile(join(directory, "data.sqlite"), "x".repeat(40_000));
    const before = threads.length;
    await expect(backend.open()).rejects.toMatchObject({ code: "CORRUPT" });
    expect(threads).toHaveLength(before + 1);
    expect(threads.map(({ threadId }) => threadId).filter((id) => id !== -1)).toEqual([]);
  });

  it("does not keep the process alive", () => {
    const index = pathToFileURL(join(import.meta.dirname, "..", "..", "dist", "sqlite", "index.js")).href;
    const script = `
      import { sqliteStorage } from "${index}";
      const backend = sqliteStorage(process.argv[1]);
      await backend.open();
      await backend.write([{ op: "put", key: "a", value: Uint8Array.of(1) }]);
      console.log(await backend.get("a"));
    `;
    const args = ["--no-warnings", "--input-type=module", "-e", script, directory];
    expect(execFileSync(process.execPath, args, { encoding: "utf8", timeout: 15_000 })).toBe("Uint8Array(1) [ 1 ]\n");
  });
});
