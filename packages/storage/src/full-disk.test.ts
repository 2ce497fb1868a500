import { cpSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Op, StorageBackend } from "./backend.ts";
import { createGroupStore } from "./group-store.ts";
import { meta, record } from "./group-store.test-support.ts";
import { levelStorage } from "./level/index.ts";
import { lmdbStorage } from "./lmdb/index.ts";
import { SmallDisk } from "./small-disk.test-support.ts";
import { sqliteStorage } from "./sqlite/index.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";

/** A place whose space is limited. */
interface Place extends Disposable {
  backend(): StorageBackend;
  /** Leaves so many KiB free, or much. */
  leave(freeKb: number | "much"): void;
  /** What is there if the process dies now. */
  afterCrash(): StorageBackend;
}

function simulated(): Place {
  const disk = new SimulatedDisk();
  return {
    backend: () => disk.backend(),
    leave: (free) => (disk.faults.bytesMax = free === "much" ? 1e9 : disk.contents.bytes() + free * 1000),
    afterCrash: () => disk.clone().backend(),
    [Symbol.dispose]: () => undefined,
  };
}

/** In a file system of its own; undefined where none can be mounted. */
function mounted(make: (location: string) => StorageBackend): Place | undefined {
  const disk = SmallDisk.mount("200m");
  if (disk === undefined) return undefined;
  const location = join(disk.directory, "data");
  let copies = 0;
  return {
    backend: () => make(location),
    leave: (free) => (free === "much" ? disk.remount("size=200m") : disk.leave(free)),
    afterCrash() {
      const copy = join(disk.directory, `copy-${copies++}`);
      cpSync(location, copy, { recursive: true });
      return make(copy);
    },
    [Symbol.dispose]: () => disk[Symbol.dispose](),
  };
}

const places: [string, () => Place | undefined][] = [
  ["a simulated disk", simulated],
  ["level", () => mounted(levelStorage)],
  ["lmdb", () => mounted(lmdbStorage)],
];
if (isBuiltin("node:sqlite")) places.push(["sqlite", () => mounted(sqliteStorage)]);

const value = crypto.getRandomValues(new Uint8Array(20_000));

/** Writes until that fails, and returns the error. */
async function fill(backend: StorageBackend, acknowledged: string[]): Promise<{ code: string; message: string }> {
  for (let writes = 0; writes < 1000; writes++) {
    const key = `k${acknowledged.length}`;
    try {
      await backend.write([{ op: "put", key, value }], { sync: writes % 2 === 0 });
    } catch (error) {
      return error as { code: string; message: string };
    }
    acknowledged.push(key);
  }
  throw new Error("the disk did not get full");
}

async function missing(backend: StorageBackend, keys: readonly string[]): Promise<string[]> {
  const found = await backend.getMany(keys);
  return keys.filter((_, index) => found[index] === undefined || Buffer.compare(found[index], value) !== 0);
}

for (const [name, make] of places) {
  describe(`a full disk: ${name}`, () => {
    it("an open backend fails with FULL, reads on, and writes on once there is space; a crash loses nothing", async (test) => {
      using place = make();
      if (place === undefined) return test.skip("mounting a file system is not permitted");
      await using backend = place.backend();
      await backend.open();
      const acknowledged: string[] = [];
      for (let round = 0; round < 3; round++) {
        place.leave(500);
        const before = acknowledged.length;
        const failure = await fill(backend, acknowledged);
        expect(failure).toMatchObject({ code: "FULL", message: expect.stringMatching(/free space/) });
        expect(failure.message.includes("(64 MiB are enough)")).toBe(name === "level");
        expect(failure.message).toContain(backend.name.slice(backend.name.indexOf(":") + 1));
        expect(acknowledged.length).toBeGreaterThanOrEqual(before);
        // Reads go on, and so does the failure, until there is space.
        expect(await missing(backend, acknowledged)).toEqual([]);
        expect(await fill(backend, [...acknowledged])).toMatchObject({ code: "FULL" });
        place.leave("much");
        const keys: string[] = [];
        for await (const page of backend.scan({ values: false })) {
          keys.push(...page.map(({ key }) => key));
          // Within the scan: LevelDB is opened anew under it.
          await backend.write([{ op: "put", key: `k${acknowledged.length}`, value }], { sync: true });
          acknowledged.push(`k${acknowledged.length}`);
        }
        expect(keys.length).toBeGreaterThanOrEqual(acknowledged.length - 1);
        for (let more = 0; more < 20; more++) {
          const key = `k${acknowledged.length}`;
          await backend.write([{ op: "put", key, value }], { sync: more % 2 === 0 });
          acknowledged.push(key);
        }
      }
      await using after = place.afterCrash();
      await after.open();
      expect(await missing(after, acknowledged)).toEqual([]);
    });

    it("a store that was closed on it opens or says why not; with space all that was acknowledged is there", async (test) => {
      using place = make();
      if (place === undefined) return test.skip("mounting a file system is not permitted");
      const store = createGroupStore(place.backend(), { compression: "none" });
      await store.open();
      await store.commit({ created: [meta("g")] }, { sync: true });
      place.leave(1500);
      let acknowledged = 0;
      let failure: unknown;
      while (failure === undefined && acknowledged < 1000) {
        const bytes = crypto.getRandomValues(new Uint8Array(20_000));
        const commit = store.commit({ records: [{ ...record("g", acknowledged), bytes }] }, { sync: true });
        failure = await commit.then(
          () => void acknowledged++,
          (error: unknown) => error,
        );
      }
      expect(failure).toMatchObject({ code: "FULL", message: expect.stringContaining("free space") });
      expect(acknowledged).toBeGreaterThan(10);
      place.leave(0);
      const codes: (string | undefined)[] = [];
      for (const turn of [() => store.close(), () => store.open(), () => store.close()]) {
        codes.push(
          await turn().then(
            () => undefined,
            (error: { code: string }) => error.code,
          ),
        );
      }
      expect(codes.filter((code) => code !== undefined && code !== "FULL")).toEqual([]);
      place.leave("much");
      await store.open();
      const group = await store.load("g");
      expect(group?.damage).toEqual([]);
      expect(group?.nextPosition).toBeGreaterThanOrEqual(acknowledged);
      await store.commit({ records: [record("g", group?.nextPosition ?? 0)] }, { sync: true });
      await store.close();
    });
  });
}

it("LevelDB whose log is larger than its buffer says how much space it needs to open", async (test) => {
  using disk = SmallDisk.mount("9000k");
  if (disk === undefined) return test.skip("mounting a file system is not permitted");
  await using backend = levelStorage(join(disk.directory, "data"), { writeBufferBytes: 64 << 10 });
  await backend.open();
  await backend.write([{ op: "put", key: "a", value: crypto.getRandomValues(new Uint8Array(65_536)) }]);
  const large = Array.from({ length: 96 }, (_, index): Op => {
    return { op: "put", key: `k${index}`, value: crypto.getRandomValues(new Uint8Array(65_536)) };
  });
  await backend.write(large);
  await backend.close();
  disk.leave(1000);
  const full = { code: "FULL", message: expect.stringContaining("free space (11 MiB are enough)") as string };
  await expect(backend.open().then(() => backend.close())).rejects.toMatchObject(full);
  disk.leave(11 << 10);
  await backend.open();
  expect(await backend.get("k95")).toHaveLength(65_536);
});
