// What storage has lost comes back from peers.
import { expect, test } from "vitest";
import { Scenario } from "../simulation/scenario.ts";

test("a group whose journal has rotted is repaired by its peers, and is whole from then on", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter", "notes"] });
  await story.start("n0", "n1");
  for (const at of [0, 1]) await story.open("n0", { at });
  for (const at of [0, 1]) await story.open("n1", { at });
  for (let round = 0; round < 5; round++) {
    for (const at of [0, 1]) await story.write("n0", { at, times: 3, settleMs: 30 });
  }
  await story.wait(500);
  const value = story.value("n1");
  story.kill("n0");
  story.rotJournal("n0");
  await story.start("n0");
  await story.wait(2000);
  expect(story.group("n0")).toMatchObject({ isDegraded: false, phase: "active" });
  expect(story.value("n0")).toEqual(value);
  expect(story.group("n0", 1)).toMatchObject({ isDegraded: false });

  // And without its peers.
  story.kill("n1");
  story.kill("n0");
  await story.start("n0");
  await story.open("n0");
  expect(story.group("n0")).toMatchObject({ isDegraded: false });
  expect(story.value("n0")).toEqual(value);
  await story.conclude();
});

test("a group that has lost something stays degraded while no peer has it, over restarts too", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"] });
  await story.start("n0");
  await story.open("n0");
  await story.write("n0", { times: 3, settleMs: 50 });
  for (let restart = 0; restart < 2; restart++) {
    story.kill("n0");
    if (restart === 0) story.rotJournal("n0");
    await story.start("n0");
    await story.wait(1000);
    expect(story.group("n0")).toMatchObject({ isDegraded: true });
  }
});
