import { gCounter } from "@coppice/crdt";
import { type GroupStorage, createGroupStore, exportGroups, importGroups } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createMemoryNetwork } from "./memory-transport.ts";
import { type Node, createNode } from "./node.ts";
import type { NodeOptions } from "./node-options.ts";
import { type RestoreStep, digestOf, planRestore, restoreAt } from "./point-in-time.ts";

const T1 = Date.UTC(2026, 0, 1);
const T2 = T1 + 60_000;
const T3 = T2 + 60_000;

function store(): GroupStorage {
  const directory = mkdtempSync(join(tmpdir(), "coppice-past-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return createGroupStore(levelStorage(directory));
}

/** A node whose clock the test sets, on a storage that the test can export. */
class Past {
  now = T1;
  readonly storage: GroupStorage;
  readonly node: Promise<Node>;

  constructor(options: Partial<NodeOptions> = {}) {
    const storage = store();
    this.storage = storage;
    const now = (): number => this.now;
    this.node = createNode({ types: [gCounter], storage, now, snapshotIntervalMs: false, ...options });
    onTestFinished(async () => (await this.node).close());
  }

  async count(id: string, at: number): Promise<void> {
    this.now = at;
    const replica = await (await this.node).open(id, gCounter);
    await replica.mutate((counter) => counter.increment());
    replica.close();
  }

  backup(): AsyncGenerator<Uint8Array> {
    return exportGroups(this.storage, { history: true });
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** The values of a backup restored as of a time into an empty storage. */
async function valuesAt(backup: readonly Uint8Array[], at: number): Promise<Record<string, unknown>> {
  const storage = store();
  await storage.open();
  await importGroups(storage, restoreAt(stream(backup), { at }), { renew: { digest: digestOf } });
  await storage.close();
  const node = await createNode({ types: [gCounter], storage });
  onTestFinished(() => node.close());
  const values: Record<string, unknown> = {};
  for (const { id } of node.groups()) values[String(id)] = (await node.open(id, gCounter)).value();
  return values;
}

async function plan(backup: readonly Uint8Array[], at: number): Promise<RestoreStep[]> {
  const steps: RestoreStep[] = [];
  for await (const step of planRestore(stream(backup), { at })) steps.push(step);
  return steps;
}

test("a group is restored as it was, from a journal that begins with it", async () => {
  const past = new Past();
  for (const at of [T1, T2, T3]) await past.count("n", at);
  await past.count("late", T3);
  const backup = await collect(past.backup());
  expect(await valuesAt(backup, T1 - 1)).toEqual({});
  expect(await valuesAt(backup, T1)).toEqual({ n: 1 });
  expect(await valuesAt(backup, T2)).toEqual({ n: 2 });
  expect(await valuesAt(backup, T3 - 1)).toEqual({ n: 2 });
  expect(await valuesAt(backup, T3)).toEqual({ n: 3, late: 1 });
});

test("the journal reaches back to the older snapshot, and no further", async () => {
  const past = new Past();
  const node = await past.node;
  for (const at of [T1, T2, T3]) {
    await past.count("n", at);
    await node.snapshot();
  }
  await past.count("n", T3 + 1000);
  const backup = await collect(past.backup());
  await expect(valuesAt(backup, T1)).rejects.toMatchObject({ code: "OUT_OF_REACH" });
  expect(await plan(backup, T1)).toEqual([{ id: "n", kind: "unreachable", sinceMs: T2 }]);
  expect(await valuesAt(backup, T2)).toEqual({ n: 2 });
  expect(await valuesAt(backup, T3)).toEqual({ n: 3 });
  expect(await valuesAt(backup, T3 + 1000)).toEqual({ n: 4 });
});

test("a state that came from a peer cannot be taken apart", async () => {
  const network = createMemoryNetwork();
  const other = await createNode({
    types: [gCounter],
    transport: network.transport("other"),
    limits: { tailBytesMax: 1 },
  });
  onTestFinished(() => other.close());
  const theirs = await other.open("n", gCounter);
  theirs.mutate((counter) => counter.increment(5));
  const past = new Past({ transport: network.transport("past") });
  await past.count("n", T2);
  await (await past.node).connect("memory:/other");
  await expect.poll(() => theirs.value()).toBe(6);
  const ours = await (await past.node).open("n", gCounter);
  await expect.poll(() => ours.value()).toBe(6);
  await (await past.node).snapshot();
  const [step] = await plan(await collect(past.backup()), T2);
  expect(step).toMatchObject({ kind: "unreachable" });
});

test("what is restored supersedes what peers have", { timeout: 20_000 }, async () => {
  const past = new Past();
  for (const at of [T1, T2, T3]) await past.count("n", at);
  const backup = await collect(past.backup());
  const network = createMemoryNetwork();
  const storage = store();
  await storage.open();
  await importGroups(storage, stream(backup));
  await storage.close();
  const peer = await createNode({
    types: [gCounter],
    storage,
    transport: network.transport("peer"),
    syncIntervalMs: 50,
  });
  onTestFinished(() => peer.close());

  const restored = store();
  await restored.open();
  await importGroups(restored, restoreAt(stream(backup), { at: T2 }), { renew: { digest: digestOf } });
  const again = importGroups(restored, restoreAt(stream(backup), { at: T1 }), { renew: { digest: digestOf } });
  await expect(again).rejects.toMatchObject({ code: "EXISTS" });
  await restored.close();
  const node = await createNode({
    types: [gCounter],
    storage: restored,
    transport: network.transport("node"),
    syncIntervalMs: 50,
  });
  onTestFinished(() => node.close());
  await peer.connect("memory:/node");
  const there = await peer.open("n", gCounter);
  await expect.poll(() => there.value(), { timeout: 10_000 }).toBe(2);
  await there.mutate((counter) => counter.increment());
  const here = await node.open("n", gCounter);
  await expect.poll(() => here.value()).toBe(3);
});

test("deleted groups stay so, and one that began anew has no past", async () => {
  const past = new Past();
  const node = await past.node;
  await past.count("gone", T1);
  await past.count("anew", T1);
  await node.delete("gone");
  await node.delete("anew");
  past.now = T2;
  const replica = await node.open("anew", gCounter, { recreate: true });
  await replica.mutate((counter) => counter.increment(7));
  const backup = await collect(past.backup());
  expect(await plan(backup, T1)).toMatchObject([
    { id: "anew", kind: "unreachable", sinceMs: T2 },
    { id: "gone", kind: "deleted" },
  ]);
  expect(await valuesAt(backup, T2)).toEqual({ anew: 7 });
});
