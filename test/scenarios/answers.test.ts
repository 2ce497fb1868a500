// Questions and answers between two nodes.
import { createMemoryNetwork, createNode } from "@coppice/replication";
import { gCounter, lwwMap } from "@coppice/crdt";
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
