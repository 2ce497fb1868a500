// Groups that are deleted and created anew while something else is under way.
import { expect, test } from "vitest";
import { Scenario } from "../simulation/scenario.ts";

test("an event that was being committed when its group began anew is not published into the new epoch", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { settleMs: 200 });
  await story.write("n0", { times: 3 });
  // The commit of these three is under way.
  await story.delete("n0");
  await story.open("n0", { recreate: true });
  await story.wait(500);
  expect(story.group("n1")?.vector.total()).toBe(0);
  await story.conclude();
});
