import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { memoryStorage } from "../memory.ts";
import {
  openStorage,
  parseStorageTarget,
  registerStorageScheme,
  resolveStorage,
  type StorageTarget,
  storageSchemes,
} from "./index.ts";

it("makes backends from URIs, paths, objects and JSON", async () => {
  const names: Record<string, string> = {
    "memory:": "memory:",
    "level:./data": "level:./data",
    "level:///var/data": "level:/var/data",
    "level:./my%20data?cacheBytes=1048576": "level:./my data",
    "./data": "level:./data",
    "C:\\data": "level:C:\\data",
    '{"scheme":"level","location":"x","cacheBytes":1048576}': "level:x",
  };
  for (const [text, name] of Object.entries(names)) expect((await resolveStorage(text)).name).toBe(name);
  expect((await resolveStorage({ scheme: "level", location: "./data" })).name).toBe("level:./data");
});

it("refuses what it does not know", async () => {
  const bad = ["", "nope:x", "level:", "level:x?cacheBytes=1", "level:x?nope=1", "memory:x", "{", "{}", "level:%ff"];
  bad.push("level:x?location=y", "level:x?scheme=memory", "level:x?cacheBytes=65536&cacheBytes=65537");
  for (const text of bad) await expect(resolveStorage(text)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  for (const target of [undefined, null, 5, {}, { scheme: 5 }, { scheme: "level", location: 5 }, new URL("level:x")]) {
    const code = "INVALID_OPTIONS";
    await expect(resolveStorage(target as StorageTarget)).rejects.toMatchObject({ code });
  }
});

it("refuses the name of a scheme alone, which would be a directory of that name", async () => {
  await expect(resolveStorage("lmdb")).rejects.toMatchObject({
    code: "INVALID_OPTIONS",
    message: expect.stringContaining("write lmdb:./data, or ./lmdb for a directory"),
  });
  await expect(resolveStorage("memory")).rejects.toMatchObject({ message: expect.stringContaining("write memory:,") });
  expect(parseStorageTarget("./lmdb")).toEqual({ scheme: "level", location: "./lmdb" });
});

it("opens what it made", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-uri-"));
  await using backend = await openStorage(`level:${directory}`);
  expect(backend.status).toBe("open");
  await expect(openStorage(directory)).rejects.toMatchObject({ code: "LOCKED" });
  await backend.close();
  await rm(directory, { recursive: true });
});

it("takes schemes of third parties, once", async () => {
  const made: unknown[] = [];
  registerStorageScheme("test-scheme", (location, options) => {
    made.push([location, { ...options }]);
    return memoryStorage();
  });
  expect((await resolveStorage("test-scheme:a/b?x=1&y=yes&z=true")).status).toBe("closed");
  expect(made).toEqual([["a/b", { x: 1, y: "yes", z: true }]]);
  expect(storageSchemes()).toContain("test-scheme");
  expect(() => registerStorageScheme("test-scheme", memoryStorage)).toThrow(TypeError);
  expect(() => registerStorageScheme("X", memoryStorage)).toThrow(TypeError);
  expect(() => registerStorageScheme("none", undefined as never)).toThrow(TypeError);
  registerStorageScheme("broken", () => ({}) as never);
  await expect(resolveStorage("broken:")).rejects.toMatchObject({ code: "INVALID_ADAPTER" });
});
