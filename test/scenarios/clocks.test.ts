// Wall clocks that jump.
import { expect, test } from "vitest";
import { Scenario } from "../simulation/scenario.ts";

test("a clock that is set back by an hour stops neither comparison nor repair", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { settleMs: 500 });
  story.setClock("n0", -3_600_000);
  story.setClock("n1", -3_600_000);
  story.world.network.setFaults({ loss: 1 });
  await story.write("n0", { times: 3, settleMs: 500 });
  story.world.network.clearFaults();
  await story.wait(3000);
  expect(story.group("n1")?.vector.total()).toBe(4);
  await story.conclude();
});
