import { gCounter } from "@coppice/crdt";
import { type StorageBackend, StorageError, createGroupStore, encodeGroupId, memoryStorage } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { SimulatedDisk } from "@coppice/storage/testing";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { Grove, altered, gate, notes } from "./nodes.test-support.ts";

/** The storage of a node that left a counter of 3 in it. */
async function left(grove: Grove): Promise<StorageBackend> {
  const storage = memoryStorage();
  const node = await grove.start("a", [], { storage });
  (await node.open("c", gCounter)).mutate((c) => c.increment(3));
  await grove.stop("a");
  return storage;
}

describe("a storage that does not answer", () => {
  it("fails the open, and the group is read again the next time", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(await left(grove));
    let isBroken = true;
    const storage = altered(backing, {
      load: (id) => (isBroken ? Promise.reject(new StorageError("IO", "no answer")) : backing.load(id)),
    });
    const node = await grove.start("a", [], { storage });
    await expect(node.open("c", gCounter)).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    isBroken = false;
    expect((await node.open("c", gCounter)).value()).toBe(3);
  });

  it("brings no group back that was deleted while it was read", async () => {
    await using grove = new Grove();
    const backend = new SimulatedDisk().backend();
    const first = await grove.start("a", [], { storage: backend });
    const other = await grove.start("b", ["a"]);
    await (await first.open("c", gCounter)).mutate((c) => c.increment(3), { ack: { replicas: 1 } });
    await grove.stop("a");
    const reads = gate();
    const storage = altered(createGroupStore(backend), {
      load: async () => {
        await reads.opened;
        throw new StorageError("IO", "no answer");
      },
    });
    const node = await grove.start("a", ["b"], { storage });
    const opened = node.open("c", gCounter).catch((error: unknown) => error);
    await expect.poll(() => node.group("c")?.phase).toBe("loading");
    await other.delete("c");
    expect(await opened).toMatchObject({ code: "GROUP_DELETED" });
    reads.open();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(node.group("c")).toMatchObject({ phase: "deleted", epoch: 2 });
    await node.sync();
  });

  it("fails each open that waits, and whoever tries again at once is not mistaken for one of them", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(await left(grove));
    let failures = 0;
    const storage = altered(backing, {
      load: async (id) => {
        if (failures++ === 0) throw new StorageError("IO", "no answer");
        return await backing.load(id);
      },
    });
    const node = await grove.start("a", [], { storage });
    const persistent = node.open("c", gCounter).catch(() => node.open("c", gCounter));
    const other = node.open("c", gCounter).catch(() => node.open("c", gCounter));
    for (const counter of await Promise.all([persistent, other])) expect(counter.value()).toBe(3);
  });
});

describe("a storage that takes no writes", () => {
  it("is told of once, however often it is tried, until it fails in another way or has recovered", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(new SimulatedDisk().backend());
    let trouble: string | undefined;
    let tries = 0;
    const storage = altered(backing, {
      commit: async (commits, options) => {
        if (trouble === undefined) return await backing.commit(commits, options);
        tries++;
        throw new StorageError("FULL", trouble);
      },
    });
    const node = await grove.start("a", [], { storage, heartbeatMs: 10 });
    const counter = await node.open("c", gCounter);
    const told = (): readonly string[] =>
      grove.notices.map(({ code }) => code).filter((code) => code.startsWith("STORAGE_"));
    trouble = "the disk is full";
    counter.mutate((c) => c.increment(1));
    await expect.poll(() => tries, { timeout: 5000 }).toBeGreaterThan(3);
    expect(told()).toEqual(["STORAGE_FAILED"]);
    trouble = "the disk is gone";
    await expect.poll(told, { timeout: 5000 }).toEqual(["STORAGE_FAILED", "STORAGE_FAILED"]);
    trouble = undefined;
    await expect.poll(told, { timeout: 5000 }).toEqual(["STORAGE_FAILED", "STORAGE_FAILED", "STORAGE_RECOVERED"]);
  });
});

describe("a storage that is damaged", () => {
  it("is told of, also where nothing is left of a group, which then comes from peers", async () => {
    await using grove = new Grove();
    const backend = memoryStorage();
    const first = await grove.start("a", [], { storage: backend });
    const peer = await grove.start("b", ["a"]);
    (await first.open("c", gCounter)).mutate((c) => c.increment(3));
    await expect.poll(() => peer.group("c")?.events).toBe(1);
    await grove.stop("a");
    await backend.open();
    const records = [];
    for await (const page of backend.scan({ prefix: "c" })) records.push(...page);
    expect(records).toHaveLength(2);
    for (const { key, value } of records) await backend.write([{ op: "put", key, value: value.slice(1) }]);
    await backend.close();
    const node = await grove.start("a", [], { storage: backend });
    const damaged = grove.notices.filter(({ code }) => code === "STORAGE_DAMAGED");
    expect(damaged.map(({ group }) => group)).toEqual(["c", "c"]);
    expect(node.group("c")).toBeUndefined();
    await node.connect("memory:/b");
    await grove.converged();
    expect((await node.open("c", gCounter)).value()).toBe(3);
  });
});

describe("a storage whose engine has lost writes", () => {
  it("is told of, and they come back from peers", async () => {
    const data = await mkdtemp(join(tmpdir(), "coppice-trouble-"));
    onTestFinished(() => rm(data, { recursive: true, force: true }));
    await using grove = new Grove();
    const first = await grove.start("a", [], { storage: levelStorage(data) });
    const peer = await grove.start("b", ["a"]);
    for (const id of ["c", "d", "e"]) {
      await (await first.open(id, gCounter)).mutate((c) => c.increment(3), { ack: { replicas: 1 } });
    }
    await grove.stop("a");
    const [log = ""] = (await readdir(join(data, "db"))).filter((name) => name.endsWith(".log"));
    const bytes = await readFile(join(data, "db", log));
    bytes[bytes.length >> 1] = 255 - (bytes[bytes.length >> 1] ?? 0);
    await writeFile(join(data, "db", log), bytes);
    const node = await grove.start("a", [], { storage: levelStorage(data) });
    const [notice] = grove.notices.filter(({ code }) => code === "STORAGE_DAMAGED");
    expect(notice?.message).toMatch(/a file of the engine was quarantined: .*rotten.* has rotted at byte \d+/);
    await node.connect("memory:/b");
    await grove.converged();
    for (const id of ["c", "d", "e"]) expect((await node.open(id, gCounter)).value()).toBe(3);
    expect(peer.group("c")?.events).toBe(1);
  });
});

describe("a queue that is too small for an answer", () => {
  it("sends it in parts, one after the other", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { limits: { queueBytesMax: 2000 } });
    const map = await a.open("m", notes);
    for (let i = 0; i < 400; i++) {
      map.mutate((m) => m.set(`k${i}`, "x".repeat(50)));
      await Promise.resolve();
    }
    const b = await grove.start("b", ["a"], { limits: { queueBytesMax: 2000 } });
    await grove.converged(3000);
    expect((await b.open("m", notes)).read((m) => m.size)).toBe(400);
  });
});

describe("subscribers of a group with a journal", () => {
  it("hear of every change, also of those made while a commit is under way", async () => {
    await using grove = new Grove();
    const storage = altered(createGroupStore(memoryStorage()), {
      durability: () => ({ durable: true, sync: true }),
    });
    const node = await grove.start("a", [], { storage });
    const counter = await node.open("c", gCounter);
    let told = 0;
    counter.subscribe(({ value }) => {
      told = value;
    });
    for (let i = 0; i < 20; i++) {
      counter.mutate((c) => c.increment(1));
      for (let ticks = i % 4; ticks > 0; ticks--) await Promise.resolve();
    }
    await expect.poll(() => told).toBe(20);
  });
});

describe("a group of which nothing readable is left", () => {
  it("begins anew, says so, and gets back from peers what they have", async () => {
    await using grove = new Grove();
    const backend = new SimulatedDisk().backend();
    const first = await grove.start("a", [], { storage: backend });
    const other = await grove.start("b", ["a"]);
    for (const id of ["c", "d"]) {
      await (await first.open(id, gCounter)).mutate((c) => c.increment(3), { ack: { replicas: 1 } });
    }
    await grove.stop("a");
    const node = await grove.start("a", [], { storage: backend });
    const rot = Uint8Array.of(1, 2, 3);
    const keys: string[] = [];
    for await (const page of backend.scan({ prefix: "c" })) keys.push(...page.map(({ key }) => key));
    const own = keys.filter((key) => key.includes(encodeGroupId("c")));
    expect(own).toHaveLength(2);
    await backend.write(own.map((key) => ({ op: "put", key, value: rot })));
    const replica = await node.open("c", gCounter);
    expect(replica.value()).toBe(0);
    expect(node.group("c")).toMatchObject({ degraded: true });
    await replica.mutate((c) => c.increment(1), { ack: "sync" });
    await (await node.open("d", gCounter)).mutate((c) => c.increment(1), { ack: "sync" });
    await node.connect("memory:/b");
    await grove.converged();
    expect(replica.value()).toBe(4);
    expect(grove.notices.map(({ code }) => code)).toContain("GROUP_REPAIRED");
    await grove.stop("a");
    const again = await grove.start("a", [], { storage: backend });
    expect((await again.open("c", gCounter)).value()).toBe(4);
    expect(again.group("c")).toMatchObject({ degraded: false });
    await other.close();
  });
});
