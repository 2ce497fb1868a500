import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import { levelStorage } from "./level/index.ts";
import { memoryStorage } from "./memory.ts";
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

backendSuite({
  describe,
  it,
  name: "level",
  async create() {
    const directory = await mkdtemp(join(tmpdir(), "coppice-level-"));
    const another = () => levelStorage(directory);
    return { backend: another(), another, cleanup: () => rm(directory, { recursive: true }) };
  },
});
