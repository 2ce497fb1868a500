import { gCounter } from "@coppice/crdt";
import { createDomains } from "@coppice/storage";
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
