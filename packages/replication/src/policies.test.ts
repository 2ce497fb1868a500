import { gCounter, lwwMap } from "@coppice/crdt";
import { createDomains, createGroupStore, memoryStorage } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createNode } from "./node.ts";

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "coppice-policies-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

test("each domain is written as its policy says", async () => {
  const data = await directory();
  const storage = createDomains({ adapter: levelStorage(join(data, "main")) });
  storage.configureDomain("views", { adapter: levelStorage(join(data, "views")), inMemory: true, autoSaveMs: "never" });
  const policies = { rough: { durability: "snapshot" }, quick: { snapshotIntervalMs: 20 } } as const;
  const node = await createNode({ types: [gCounter], storage, policies, snapshotIntervalMs: false });
  onTestFinished(() => node.close());
  const write = async (domain: string, ack?: "log" | "sync"): Promise<void> => {
    const replica = await node.open([domain, "a"], gCounter);
    await replica.mutate((counter) => counter.increment(), ack === undefined ? {} : { ack });
  };
  for (const domain of ["plain", "rough", "quick", "views"]) await write(domain);
  await write("plain", "log");
  await write("views", "sync");
  await expect(write("rough", "log")).rejects.toMatchObject({ code: "ACK_UNAVAILABLE" });
  await expect(write("views", "log")).rejects.toThrow("kept in memory until the next save");
  await expect.poll(() => node.group(["quick", "a"])?.snapshotBytes).toBeGreaterThan(0);
  expect(node.group(["plain", "a"])).toMatchObject({ snapshotBytes: 0 });
  expect(node.group(["rough", "a"])).toMatchObject({ snapshotBytes: 0, journalBytes: 0 });
});

test("a policy that makes no sense is refused by its place", async () => {
  const policies = { views: { durability: "often" as "log" } };
  await expect(createNode({ types: [gCounter], policies })).rejects.toThrow('policies["views"].durability must be');
});

test("snapshots that are due together go into commits of little more than a megabyte", async () => {
  const storage = createGroupStore(memoryStorage());
  const commit = storage.commit.bind(storage);
  const sizes: number[] = [];
  storage.commit = async (contents, options) => {
    const bytes = (contents.snapshots ?? []).reduce((sum, { body }) => sum + body.length, 0);
    if (bytes > 0) sizes.push(bytes);
    await commit(contents, options);
  };
  const node = await createNode({ types: [lwwMap()], storage, snapshotIntervalMs: 50 });
  onTestFinished(() => node.close());
  const text = "x".repeat(400_000);
  for (let index = 0; index < 12; index++) {
    const replica = await node.open(["large", index], lwwMap<string>());
    replica.mutate((map) => map.set("text", text));
  }
  await expect.poll(() => sizes.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(12 * text.length);
  expect(Math.max(...sizes)).toBeLessThan(1.6 * 1024 * 1024);
  expect(sizes.length).toBeLessThanOrEqual(12);
});
