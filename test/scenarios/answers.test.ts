// Questions and answers between two nodes.
import { Scenario } from "../simulation/scenario.ts";
import { createMemoryNetwork, createNode } from "@coppice/replication";
import { VersionVector, gCounter, lwwMap } from "@coppice/crdt";
import { afterEach, expect, test } from "vitest";

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const node of closing.splice(0)) await node.close();
});

/** Two nodes that compare only when they are linked. */
async function pair(
  a: Partial<Parameters<typeof createNode>[0]>,
  b: Partial<Parameters<typeof createNode>[0]>,
): Promise<[Awaited<ReturnType<typeof createNode>>, Awaited<ReturnType<typeof createNode>>]> {
  const network = createMemoryNetwork();
  const types = [gCounter, lwwMap<string>()];
  const first = await createNode({ types, transport: network.transport("a"), syncIntervalMs: 600_000, ...a });
  const second = await createNode({ types, transport: network.transport("b"), syncIntervalMs: 600_000, ...b });
  closing.push(second, first);
  return [first, second];
}

test("an answer larger than the queue goes on as soon as there is room", async () => {
  const limits = { queueBytesMax: 1000 };
  const [a, b] = await pair({ limits }, { limits });
  const map = await a.open("m", lwwMap<string>());
  for (let i = 0; i < 300; i++) {
    map.mutate((m) => m.set(`k${i}`, "x".repeat(40)));
    await Promise.resolve();
  }
  await b.connect("memory:/a");
  // Twenty parts and more: at a second each they would not be through.
  await expect.poll(() => b.group("m")?.events, { timeout: 5000 }).toBe(300);
});

test("a peer that does not answer is asked again about the last write that waits, however many do", async () => {
  const network = createMemoryNetwork();
  const start = async (name: string): Promise<Awaited<ReturnType<typeof createNode>>> => {
    const node = await createNode({ types: [gCounter], transport: network.transport(name), heartbeatMs: 50 });
    closing.push(node);
    return node;
  };
  const [a, b] = [await start("a"), await start("b")];
  await b.connect("memory:/a");
  const counter = await a.open("c", gCounter);
  counter.mutate((c) => c.increment(1));
  await expect.poll(() => b.group("c")?.events, { timeout: 5000 }).toBe(1);
  network.setFaults({ loss: 1 }, "b", "a");
  const writes: Promise<void>[] = [];
  for (let i = 0; i < 500; i++) {
    writes.push(counter.mutate((c) => c.increment(1), { ack: { replicas: 1 }, timeoutMs: 60_000 }).then(() => {}));
    await Promise.resolve();
  }
  await expect.poll(() => b.group("c")?.events, { timeout: 5000 }).toBe(501);
  const bytesOut = (): number => a.peers()[0]?.bytesOut ?? 0;
  const before = bytesOut();
  await new Promise((resolve) => setTimeout(resolve, 500));
  // Each of the 500 with all that follow it, at every heartbeat, would be megabytes.
  expect(bytesOut() - before).toBeLessThan(20_000);
  network.clearFaults();
  await Promise.all(writes);
});

test("two nodes that cannot join each other's states ask each other now and then, not without end", async () => {
  // Both relays keep what they are given without its type's code, and so cannot merge it.
  const machines = [{}, {}, { lacks: ["words"] }, { lacks: ["words"] }];
  const story = new Scenario({ machines, groups: ["words"], tailBytesMax: 1 });
  for (const [a, b] of [
    ["n0", "n1"],
    ["n0", "n3"],
    ["n1", "n2"],
    ["n2", "n3"],
  ] as const)
    story.cut(a, b);
  await story.start("n0", "n1");
  for (const name of ["n0", "n1"]) {
    await story.open(name);
    for (let round = 0; round < 5; round++) await story.write(name, { times: 2, settleMs: 50 });
  }
  await story.start("n2", "n3");
  await story.wait(2000);
  story.kill("n0");
  story.kill("n1");
  story.join("n2", "n3");
  await story.wait(1000);
  const bytesIn = (): number => story.process("n3").core?.peers.get("n2")?.counts.bytesIn ?? 0;
  const before = bytesIn();
  expect(before).toBeGreaterThan(0);
  await story.wait(5000);
  expect(bytesIn() - before).toBeLessThan(20_000);
  expect(story.group("n2")?.vector.equals(story.group("n3")?.vector ?? new VersionVector())).toBe(false);
});

test("a durable answer to an event that was stored already does not wait until something else is written", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { settleMs: 2000 });
  const [here, there] = [story.group("n0"), story.group("n1")];
  expect(there?.vector.total()).toBe(1);
  let isDurable = false;
  if (here === undefined) throw new Error("the group is gone");
  story
    .process("n0")
    .core?.expectAcks(here, { replicas: 1, durable: true, among: undefined }, () => (isDurable = true));
  // The question is asked once more with the next heartbeat.
  await story.wait(3000);
  expect(isDurable).toBe(true);
  await story.conclude();
});

test("an event that waits for one before it follows the state that brings that one", async () => {
  const story = new Scenario({ machines: [{}, {}, {}], groups: ["counter"], tailBytesMax: 1 });
  await story.start("n0", "n1", "n2");
  story.cut("n1", "n2");
  await story.open("n0");
  story.world.network.setFaults({ loss: 1 }, "n0", "n1");
  await story.write("n0", { settleMs: 50 });
  expect(story.group("n2")?.vector.total()).toBe(1);
  story.cut("n0", "n2");
  story.world.network.setFaults({ loss: 0 }, "n0", "n1");
  story.world.network.setFaults({ loss: 1 }, "n1", "n0");
  await story.write("n0", { settleMs: 20 });
  // Its writer is gone before it hears what is missing.
  story.kill("n0");
  expect(story.group("n1")?.server?.pending.events).toBe(1);
  expect(story.group("n1")?.vector.total()).toBe(0);
  // The tail of the other one is cut off: it can only send its state.
  story.join("n1", "n2");
  await story.wait(3000);
  expect(story.group("n1")?.vector.total()).toBe(2);
  await story.conclude();
});
