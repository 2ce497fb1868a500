// What happens when a commit fails, as the simulation found it.
import { expect, test } from "vitest";
import { Scenario } from "../simulation/scenario.ts";

test("a record that reached the disk although its sync failed does not block the journal", async () => {
  const story = new Scenario({ machines: [{ durability: "sync" }], groups: ["counter"] });
  await story.start("n0");
  await story.open("n0");
  await story.write("n0", { settleMs: 50 });
  story.failDisk("n0", "sync");
  await story.write("n0", { times: 3, settleMs: 50 });
  story.failDisk("n0", undefined);
  await story.wait(1000);
  await story.write("n0", { times: 2, settleMs: 100 });
  story.powerCut("n0");
  await story.conclude();
});

test("events of an unknown type survive a failed commit, although no snapshot can hold them", async () => {
  const machines = [{}, { lacks: ["counter"] }];
  const story = new Scenario({ machines, groups: ["counter"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { settleMs: 200 });
  story.failDisk("n1", "write");
  await story.write("n0", { times: 3, settleMs: 50 });
  story.failDisk("n1", undefined);
  await story.wait(500);
  await story.write("n0", { times: 2, settleMs: 100 });
  story.kill("n1");
  await story.conclude();
});

test("a failure is over once what had failed is deleted", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter", "notes"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.open("n0", { at: 1 });
  await story.open("n1");
  await story.write("n0", { settleMs: 200 });
  story.failDisk("n0", "write");
  await story.write("n0", { settleMs: 10 });
  await story.delete("n1", { settleMs: 50 });
  story.failDisk("n0", undefined);
  await story.wait(1000);
  expect(() => story.process("n0").core?.checkWritable()).not.toThrow();
  await story.conclude();
});

test("a failed snapshot of a group without a journal does not stop writes for ever", async () => {
  const story = new Scenario({ machines: [{ durability: "snapshot" }], groups: ["counter"] });
  await story.start("n0");
  await story.open("n0");
  await story.write("n0");
  story.failDisk("n0", "write");
  await story.snapshot("n0");
  expect(() => story.process("n0").core?.checkWritable()).toThrow(/storage/);
  story.failDisk("n0", undefined);
  await story.wait(1000);
  expect(() => story.process("n0").core?.checkWritable()).not.toThrow();
  await story.conclude();
});

test("a node whose storage has failed still closes", async () => {
  const story = new Scenario({ machines: [{}], groups: ["counter"] });
  await story.start("n0");
  await story.open("n0");
  story.failDisk("n0", "write");
  await story.write("n0", { settleMs: 50 });
  expect(await story.close("n0")).toBe(true);
});

test("a read that fails once leaves a group out until it is asked for again, and no longer", async () => {
  const story = new Scenario({ machines: [{}], groups: ["counter"] });
  await story.start("n0");
  await story.open("n0");
  await story.write("n0", { times: 3, settleMs: 50 });
  const value = story.value("n0");
  await story.close("n0");
  await story.start("n0");
  story.failDisk("n0", "read");
  await expect(story.open("n0")).rejects.toThrow("does not open");
  story.failDisk("n0", undefined);
  await story.open("n0");
  expect(story.value("n0")).toBe(value);
  await story.conclude();
});

test("a group that is asked for while its node closes is not called degraded", async () => {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"] });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.open("n1");
  await story.write("n1", { settleMs: 200 });
  await story.close("n0");
  await story.start("n0");
  story.slowDisk("n0", 300);
  // Its event makes n0 load the group.
  await story.write("n1", { settleMs: 20 });
  expect(await story.close("n0")).toBe(true);
  story.slowDisk("n0", 1);
  await story.conclude();
});
