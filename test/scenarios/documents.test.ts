// Documents of libraries, which have clocks and chance of their own.
import { automergeDoc } from "@coppice/crdt/automerge";
import { createMemoryNetwork, createNode } from "@coppice/replication";
import { afterEach, expect, test, vi } from "vitest";
import { Scenario } from "../simulation/scenario.ts";

afterEach(() => vi.restoreAllMocks());

/** The trace of a run in which two nodes write into one document, begun when the system's clock shows this. */
async function traceOf(group: string, systemMs: number): Promise<string> {
  vi.spyOn(Date, "now").mockReturnValue(systemMs);
  const story = new Scenario({ machines: [{}, {}], groups: [group] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.open("n1");
  for (let round = 0; round < 5; round++) for (const name of ["n0", "n1"]) await story.write(name, { settleMs: 50 });
  await story.conclude();
  return story.world.trace.hash();
}

test.each(["automerge", "yjs"])("a run with documents of %s is the same again on another day", async (group) => {
  const first = await traceOf(group, Date.UTC(2026, 0, 1));
  expect(await traceOf(group, Date.UTC(2027, 5, 1))).toBe(first);
});

test("an integer beyond those that JavaScript's numbers can tell apart reaches the other replicas", async () => {
  const network = createMemoryNetwork();
  const type = automergeDoc<Record<string, unknown>>();
  const a = await createNode({ types: [type], transport: network.transport("a") });
  const b = await createNode({ types: [type], transport: network.transport("b") });
  await b.connect("memory:/a");
  const here = await a.open("g", type);
  const there = await b.open("g", type);
  await here.mutate((mutator) => mutator.change((draft) => void (draft["large"] = 2 ** 60)), { ack: { replicas: 1 } });
  expect(there.value()).toEqual({ large: 2n ** 60n });
  for (const node of [a, b]) await node.close();
});
