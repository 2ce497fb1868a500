import { expect, it } from "vitest";
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
