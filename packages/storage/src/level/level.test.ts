import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { memoryStorage } from "../memory.ts";
import { levelStorage } from "./index.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "coppice-level-"));
});

afterEach(async () => {
  await chmod(directory, 0o700);
  await rm(directory, { recursive: true });
});

describe("levelStorage", () => {
  it("creates its directory, and keeps secrets in files that only the owner reads", async () => {
    const location = join(directory, "deep", "down");
    await using backend = levelStorage(location);
    await backend.open();
    await backend.writeSecret("private-key", Uint8Array.of(1));
    await backend.writeSecret("private-key", Uint8Array.of(2));
    expect((await stat(join(location, "secrets", "private-key"))).mode & 0o777).toBe(0o600);
    expect((await stat(join(location, "secrets"))).mode & 0o777).toBe(0o700);
    expect((await stat(join(location, "db", "CURRENT"))).isFile()).toBe(true);
  });

  it("finds keys that a rotten filter hides", async () => {
    const keys = Array.from({ length: 500 }, (_, index) => `key${index}`);
    {
      await using backend = levelStorage(directory);
      await backend.open();
      await backend.write(keys.map((key) => ({ op: "put", key, value: Uint8Array.of(1) })));
    }
    {
      // What is in the log becomes a table.
      await using backend = levelStorage(directory);
      await backend.open();
    }
    const tables = (await readdir(join(directory, "db"))).filter((name) => name.endsWith(".ldb"));
    expect(tables).not.toEqual([]);
    for (const name of tables) await clearFilter(join(directory, "db", name));
    await using backend = levelStorage(directory);
    await backend.open();
    const missing = (values: readonly unknown[]): number => values.filter((value) => value === undefined).length;
    expect(missing(await backend.getMany([...keys, "absent"]))).toBe(1);
    expect(await backend.get("key7")).toEqual(Uint8Array.of(1));
    expect(await backend.get("key")).toBeUndefined();
  });

  it("refuses bad options", () => {
    const bad = [
      [""],
      [directory, { cacheBytes: -1 }],
      [directory, { writeBufferBytes: 1.5 }],
      [directory, { cache: 1 }],
      [directory, null],
    ];
    for (const [location, options] of bad) {
      const open = (): unknown => levelStorage(location as string, options as object);
      expect(open).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    }
  });

  it("fails with LOCKED while another process has the directory open, and opens once that is killed", async () => {
    // In plain JavaScript, on the engine itself: the lock is the engine's and holds against any program.
    const script = `
      const { Level } = require("level");
      const db = new Level(process.argv[1]);
      db.open().then(() => { console.log("open"); setInterval(() => {}, 1000); });
    `;
    await using backend = levelStorage(directory);
    await backend.open();
    await backend.write([{ op: "put", key: "a", value: Uint8Array.of(1) }], { sync: true });
    await backend.close();
    const child = spawn(process.execPath, ["-e", script, join(directory, "db")], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(child.stdout, "data");
      await expect(backend.open()).rejects.toMatchObject({ code: "LOCKED", message: /stop the other process/ });
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await backend.open();
    expect(await backend.get("a")).toEqual(Uint8Array.of(1));
  });

  it("says what to do when the directory cannot be written", async () => {
    const file = join(directory, "file");
    await writeFile(file, "");
    await expect(levelStorage(join(file, "data")).open()).rejects.toMatchObject({
      code: "IO",
      cause: { code: "ENOTDIR" },
    });
    await writeFile(join(directory, "db"), "");
    await using backend = levelStorage(directory);
    await expect(backend.open()).rejects.toMatchObject({ code: "IO", message: expect.stringContaining(directory) });
  });

  it("says that it is damaged when a file is missing that another one names, whatever bit flips there", async () => {
    {
      await using backend = levelStorage(directory);
      await backend.open();
    }
    const path = join(directory, "db", "CURRENT");
    const whole = await readFile(path);
    for (let bit = 0; bit < whole.length * 8; bit += 5) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await writeFile(path, flipped);
      await expect(levelStorage(directory).open()).rejects.toMatchObject({ code: "CORRUPT" });
    }
    await writeFile(path, whole);
    await using backend = levelStorage(directory);
    await backend.open();
  });

  it("mends a table whose end has rotted, as far as it goes, and not while it is open", async () => {
    const backend = levelStorage(directory);
    for (const key of ["a", "b"]) {
      await backend.open();
      await backend.write([{ op: "put", key, value: Uint8Array.of(1) }]);
      await backend.close();
    }
    await backend.open();
    await expect(backend.repairEngine()).rejects.toMatchObject({ code: "LOCKED" });
    await backend.close();
    const [table = ""] = (await readdir(join(directory, "db"))).filter((name) => name.endsWith(".ldb"));
    const bytes = await readFile(join(directory, "db", table));
    await writeFile(join(directory, "db", table), bytes.subarray(0, -1));
    await expect(backend.open().then(() => backend.get("a"))).rejects.toMatchObject({ code: "CORRUPT" });
    await backend.close();
    expect(await backend.repairEngine()).toBe(true);
    await backend.open();
    expect(await backend.get("b")).toEqual(Uint8Array.of(1));
    await backend.close();
    expect(await readdir(join(directory, "db", "lost"))).toContain(table);
    expect(await memoryStorage().repairEngine()).toBe(false);
  });

  it("syncs what is to be synced, once for writes that come together, and nothing else", async () => {
    const probe = new Level(join(directory, "probe"));
    await probe.open();
    const prototype = Object.getPrototypeOf(Object.getPrototypeOf(probe.batch())) as {
      write(options: object): unknown;
    };
    await probe.close();
    const write = vi.spyOn(prototype, "write");
    const syncs = (): unknown[] => {
      const options = write.mock.calls.map(([option]) => (option as { sync?: boolean }).sync);
      write.mockClear();
      return options;
    };
    await using backend = levelStorage(directory);
    await backend.open();
    const put = (key: string, sync: boolean): Promise<void> =>
      backend.write([{ op: "put", key, value: Uint8Array.of(1) }], { sync });
    await put("a", false);
    expect(syncs()).toEqual([false]);
    await put("a", true);
    expect(syncs()).toEqual([true]);
    await backend.sync();
    expect(syncs()).toEqual([true]);
    await Promise.all(Array.from({ length: 64 }, (_, index) => put(`k${index}`, index % 2 === 0)));
    expect(syncs()).toEqual([true]);
    await put("b", false);
    await backend.close();
    expect(syncs()).toEqual([false, true]);
    write.mockRestore();
  });
});

/** Overwrites the bits of a table's filter, so that it denies every key. See LevelDB's doc/table_format.md. */
async function clearFilter(path: string): Promise<void> {
  const bytes = await readFile(path);
  const varint = (at: number): [value: number, next: number] => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return [value, at];
    }
  };
  const [metaIndex] = varint(bytes.length - 48);
  const name = "filter.leveldb.BuiltinBloomFilter2";
  const [filter, next] = varint(bytes.indexOf(name, metaIndex) + name.length);
  const [size] = varint(next);
  // Behind the bits stand offsets.
  bytes.fill(0, filter, filter + Math.floor(size / 2));
  await writeFile(path, bytes);
}
