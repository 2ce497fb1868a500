import { expect, it } from "vitest";
import type { Node } from "./node.ts";
import { Grove, notes } from "./nodes.test-support.ts";

const GROUPS = 600;
const VALUE = "v".repeat(500);

it("a late joiner gets each group once, a part from each of its peers, and all of it when one goes away", async () => {
  await using grove = new Grove();
  const first = await grove.start("a");
  await grove.start("b", ["a"]);
  await grove.start("c", ["a", "b"]);
  for (let index = 0; index < GROUPS; index++) {
    const replica = await first.open(["late", index], notes);
    replica.mutate((map) => map.set("text", VALUE));
    replica.close();
  }
  await grove.converged();
  const late = await grove.start("late");
  await Promise.all(["a", "b", "c"].map((name) => late.connect(`memory:/${name}`)));
  grove.network.reset("c", "late");
  await grove.converged();
  const bytesIn = late.peers().map((peer) => peer.bytesIn);
  const total = bytesIn.reduce((sum, bytes) => sum + bytes, 0);
  expect(total).toBeGreaterThan(GROUPS * VALUE.length);
  // Lists, vectors and heartbeats are a tenth of it; twice the content is none.
  expect(total).toBeLessThan(1.5 * GROUPS * VALUE.length);
  expect(bytesIn.filter((bytes) => bytes > 0.2 * GROUPS * VALUE.length).length).toBeGreaterThan(1);
});

/** Nothing is asked twice, and nothing compared again. */
const ONCE = { heartbeatMs: 1_000_000, syncIntervalMs: 1_000_000 };
const LONG = "v".repeat(10_000);

async function fill(node: Node, groups: number, text: string = LONG): Promise<void> {
  for (let index = 0; index < groups; index++) {
    const replica = await node.open(["late", index], notes);
    replica.mutate((map) => map.set("text", text));
    replica.close();
  }
}

it("a late joiner gets many times what fits into a queue at one go", async () => {
  await using grove = new Grove();
  const limits = { queueBytesMax: 3 * LONG.length };
  const first = await grove.start("a", [], { ...ONCE, limits });
  await fill(first, 100);
  const late = await grove.start("late", ["a"], ONCE);
  await grove.converged();
  expect(late.peers()[0]?.bytesIn).toBeLessThan(1.1 * 100 * LONG.length);
});

it("a late joiner whose peer is slow gets the rest from one that links later", async () => {
  await using grove = new Grove();
  // A group a second.
  grove.network.setFaults({ bytesPerSecond: LONG.length }, "a", "late");
  const first = await grove.start("a", [], { limits: { queueBytesMax: LONG.length } });
  await fill(first, 40);
  await grove.start("b", ["a"]);
  await grove.converged();
  const late = await grove.start("late", ["a"]);
  await expect.poll(() => late.countGroups().get("late")).toBe(40);
  await late.connect("memory:/b");
  await grove.converged();
  const bytesOf = (id: string): number => late.peers().find((peer) => peer.id === id)?.bytesIn ?? 0;
  expect(bytesOf("b")).toBeGreaterThan(30 * LONG.length);
  expect(bytesOf("b")).toBeLessThan(44 * LONG.length);
});

it("a late joiner whose peer is slow gets the rest of many small groups from one that links later", async () => {
  await using grove = new Grove();
  const first = await grove.start("a");
  await fill(first, 400, VALUE);
  await grove.start("b", ["a"]);
  await grove.converged();
  // Ten groups a second, of which more than the half are given in advance.
  grove.network.setFaults({ bytesPerSecond: 10 * VALUE.length }, "a", "late");
  const late = await grove.start("late", ["a"]);
  await late.connect("memory:/b");
  await grove.converged();
  const bytesOf = (id: string): number => late.peers().find((peer) => peer.id === id)?.bytesIn ?? 0;
  expect(bytesOf("b")).toBeGreaterThan(300 * VALUE.length);
  // Each has some 100 bytes beside its value; twice the content is none.
  expect(bytesOf("b")).toBeLessThan(1.4 * 400 * VALUE.length);
});

it("a late joiner has what either of its peers knows of a group, though both have it", async () => {
  await using grove = new Grove();
  const [a, b] = [await grove.start("a", [], ONCE), await grove.start("b", [], ONCE)];
  await fill(a, 10, "old");
  await a.connect("memory:/b");
  await grove.converged();
  await a.disconnect("b");
  const [left, right] = [await a.open(["late", 1], notes), await b.open(["late", 2], notes)];
  left.mutate((map) => map.set("left", "new"));
  right.mutate((map) => map.set("right", "new"));
  const late = await grove.start("late", ["a", "b"], ONCE);
  await expect.poll(() => late.group(["late", 1])?.digest).toBe(left.digest());
  await expect.poll(() => late.group(["late", 2])?.digest).toBe(right.digest());
  expect([...late.groups()].map(({ events }) => events).filter((events) => events > 0)).toHaveLength(10);
});

it("a late joiner gets first what someone waits for", async () => {
  await using grove = new Grove();
  // Much more than the link takes in advance.
  grove.network.setFaults({ bytesPerSecond: 200 * LONG.length }, "a", "late");
  const first = await grove.start("a", [], { ...ONCE, limits: { queueBytesMax: LONG.length } });
  await fill(first, 400);
  const late = await grove.start("late", ["a"], ONCE);
  await expect.poll(() => late.countGroups().get("late")).toBe(400);
  const missing = [...late.groups()].filter(({ events }) => events === 0);
  const replica = await late.open(missing.at(-1)?.id ?? "none", notes);
  await replica.synced();
  expect(replica.value()).toEqual({ text: LONG });
  expect([...late.groups()].filter(({ events }) => events === 0).length).toBeGreaterThan(100);
});

it("a group is not taken for another one whose key has the same hash", async () => {
  await using grove = new Grove();
  // Found by trying: `groupHash` of both is the same.
  const [known, unknown] = ["g5414", "g24727"];
  const often = { syncIntervalMs: 50 };
  const [a, b] = [await grove.start("a", [], often), await grove.start("b", [], often)];
  for (const id of [known, unknown]) (await a.open(id, notes)).mutate((map) => map.set("text", VALUE));
  (await b.open(known, notes)).mutate((map) => map.set("text", VALUE));
  await b.connect("memory:/a");
  await grove.converged();
  await expect.poll(() => b.group(unknown)?.events).toBe(1);
});
