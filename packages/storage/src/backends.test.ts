import { mkdtemp, rm } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import type { StorageBackend } from "./backend.ts";
import { levelStorage } from "./level/index.ts";
import { lmdbStorage } from "./lmdb/index.ts";
import { memoryStorage } from "./memory.ts";
import { sqliteStorage } from "./sqlite/index.ts";
import { backendSuite } from "./testing/backend-suite.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";
import { writeBehind } from "./write-behind.ts";

backendSuite({ describe, it, name: "memory", create: async () => ({ backend: memoryStorage() }) });

backendSuite({
  describe,
  it,
  name: "simulated disk",
  async create() {
    const disk = new SimulatedDisk();
    const another = () => disk.backend();
    return { backend: another(), another };
  },
});

backendSuite({
  describe,
  it,
  name: "write-behind over a simulated disk",
  async create() {
    const disk = new SimulatedDisk();
    const another = () => writeBehind(disk.backend(), { autoSaveMs: "never" });
    return { backend: another(), another };
  },
});

/** Backends with a directory; SQLite only where the runtime has it. */
const onDisk: [string, (directory: string) => StorageBackend][] = [
  ["level", levelStorage],
  ["lmdb", lmdbStorage],
];
if (isBuiltin("node:sqlite")) onDisk.push(["sqlite", sqliteStorage]);

for (const [name, make] of onDisk) {
  backendSuite({
    describe,
    it,
    name,
    async create() {
      const directory = await mkdtemp(join(tmpdir(), `coppice-${name}-`));
      const another = () => make(directory);
      return { backend: another(), another, cleanup: () => rm(directory, { recursive: true }) };
    },
  });
}
