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

test("an answer that comes after the group began anew acknowledges no write of the new epoch", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { settleMs: 100 });
  const { core } = story.process("n0");
  story.world.network.setFaults({ delayMs: [300, 300] }, "n1", "n0");
  await story.write("n0", { times: 5 });
  const former = story.group("n0");
  if (former !== undefined) core?.expectAcks(former, { replicas: 1, durable: false, among: undefined }, () => {});
  await story.wait(50);
  await story.delete("n0");
  await story.open("n0", { recreate: true });
  story.cut("n0", "n1");
  await story.write("n0");
  let isAcknowledged = false;
  const group = story.group("n0");
  if (group !== undefined) {
    core?.expectAcks(group, { replicas: 1, durable: false, among: undefined }, () => (isAcknowledged = true));
  }
  await story.wait(500);
  expect(isAcknowledged).toBe(false);
  expect(story.group("n1")?.epoch).toBe(1);
});

test("whoever opens a group that enters another epoch while it is being loaded gets it", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"] });
  await story.start("n0", "n1");
  await story.open("n1");
  await story.write("n1", { settleMs: 500 });
  expect(await story.close("n0")).toBe(true);
  await story.delete("n1", { settleMs: 100 });
  // Nothing is written to it: what n0 hears of it is no reason to load it.
  await story.open("n1", { recreate: true });
  story.cut("n0", "n1");
  await story.start("n0");
  story.slowDisk("n0", 20_000);
  const group = story.group("n0");
  if (group === undefined) throw new Error("the group is gone");
  story.process("n0").core?.load(group, () => {}, true);
  await story.wait(500);
  expect(group).toMatchObject({ phase: "loading", epoch: 1 });
  story.join("n0", "n1");
  await story.wait(2000);
  expect(group.epoch).toBe(3);
  expect(group.phase).toBe("active");
  story.slowDisk("n0", 1);
  await story.conclude();
});
