import { gCounter } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { expect, onTestFinished, test } from "vitest";
import { type CatalogueQuery, listCatalogue } from "./catalogue.ts";
import { Census } from "./census.ts";

const GROUPS = 5000;

test("a count goes on while others work, is shared, and lists any page in any order", async () => {
  const node = await createNode({ types: [gCounter] });
  onTestFinished(() => node.close());
  for (let index = 0; index < GROUPS; index++) {
    const replica = await node.open(["words", `w${String(index).padStart(4, "0")}`], gCounter);
    for (let event = 0; event <= index % 2; event++) replica.mutate((counter) => counter.increment());
    replica.close();
  }
  const census = new Census(node);
  let turns = 0;
  const taking = census.take();
  const isRunning = { value: true };
  const work = (async () => {
    while (isRunning.value) {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const [count, same] = await Promise.all([taking, census.take()]);
  isRunning.value = false;
  await work;
  expect(turns).toBeGreaterThanOrEqual(4);
  expect(same).toBe(count);
  expect(count.sums).toMatchObject({ groups: GROUPS, events: GROUPS * 1.5, degraded: 0 });
  const ids = (query: Partial<CatalogueQuery>): { total: number; ids: unknown[] } => {
    const all = { search: "", sort: "id", isDescending: false, offset: 0, limit: 2, ...query } as const;
    const { total, groups } = listCatalogue(count, all);
    return { total, ids: groups.map(({ id }) => id[1]) };
  };
  expect(ids({})).toEqual({ total: GROUPS, ids: ["w0000", "w0001"] });
  expect(ids({ isDescending: true })).toEqual({ total: GROUPS, ids: ["w4999", "w4998"] });
  expect(ids({ isDescending: true, offset: 4999 })).toEqual({ total: GROUPS, ids: ["w0000"] });
  expect(ids({ offset: 6000 })).toEqual({ total: GROUPS, ids: [] });
  expect(ids({ isDescending: true, offset: 6000 })).toEqual({ total: GROUPS, ids: [] });
  expect(ids({ sort: "events" })).toEqual({ total: GROUPS, ids: ["w0000", "w0002"] });
  expect(ids({ sort: "events", isDescending: true })).toEqual({ total: GROUPS, ids: ["w4999", "w4997"] });
  expect(ids({ search: "W499", offset: 8 })).toEqual({ total: 10, ids: ["w4998", "w4999"] });
});
