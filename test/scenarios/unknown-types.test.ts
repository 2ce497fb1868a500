// Nodes without the code of a group's type store it and pass it on.
import { expect, test } from "vitest";
import { Scenario } from "../simulation/scenario.ts";

test("a relay without the type's code serves a late joiner, however short its tail", async () => {
  const machines = [{}, { lacks: ["words"] }, {}];
  const story = new Scenario({ machines, groups: ["words"], topology: "line", tailBytesMax: 1 });
  await story.start("n0", "n1");
  await story.open("n0");
  for (let round = 0; round < 10; round++) await story.write("n0", { times: 2, settleMs: 50 });
  story.kill("n0");
  await story.start("n2");
  await story.wait(2000);
  expect(story.group("n2")?.vector.total()).toBe(story.group("n1")?.vector.total());
  expect(story.group("n2")?.vector.total()).toBeGreaterThan(5);
});

test("what a node without the type's code missed comes to it whole", async () => {
  const machines = [{}, { lacks: ["words"] }];
  const story = new Scenario({ machines, groups: ["words"], tailBytesMax: 1 });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { times: 5, settleMs: 200 });
  story.cut("n0", "n1");
  await story.write("n0", { times: 5, settleMs: 100 });
  story.join("n0", "n1");
  await story.wait(6000);
  const { subject } = story.world.groups[0] ?? {};
  if (subject !== undefined) story.process("n1").core?.register(subject.type);
  expect(story.value("n1")).toEqual(story.value("n0"));
  await story.conclude();
});

test("a node without the type's code and without a journal of its own keeps what it was given over a restart", async () => {
  const machines = [{}, { durability: "snapshot" as const, lacks: ["words"] }];
  const story = new Scenario({ machines, groups: ["words"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { times: 5, settleMs: 200 });
  const total = story.group("n1")?.vector.total();
  story.kill("n0");
  story.kill("n1");
  await story.start("n1");
  expect(story.group("n1")?.vector.total()).toBe(total);
});
