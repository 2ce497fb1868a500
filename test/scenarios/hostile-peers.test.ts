// Members that mean harm: what they must not make a node hold, take or become.
import { SEQ_MAX, VersionVector, createActor, gCounter, hybridTime } from "@coppice/crdt";
import { createReplicas } from "@coppice/crdt/testing";
import type { Message } from "@coppice/replication/testing";
import { expect, test } from "vitest";
import { Scenario, type ScenarioSetup } from "../simulation/scenario.ts";
import { Stranger, eventMessage } from "../support/stranger.ts";

const NOW = hybridTime(1_780_000_001_000);
/** Nodes that have a counter open, and a stranger linked to the first. */
async function visited(setup: Partial<ScenarioSetup>): Promise<{ story: Scenario; stranger: Stranger }> {
  const story = new Scenario({ machines: [{}, {}], groups: ["counter"], ...setup });
  await story.start("n0", "n1");
  await story.open("n0");
  await story.write("n0", { settleMs: 200 });
  const stranger = new Stranger(story.world.network);
  void stranger.link("n0");
  story.world.stir();
  await story.wait(200);
  return { story, stranger };
}

function reference(story: Scenario, epoch = 1): { key: string; type: string; epoch: number } {
  return { key: story.group("n0")?.key ?? "", type: gCounter.name, epoch };
}

/** The stranger's first increments by one, which the history knows. */
function increments(story: Scenario, { actor }: Stranger, count: number, epoch = 1): Message[] {
  const group = reference(story, epoch);
  const [replica] = createReplicas(gCounter, 1);
  return Array.from({ length: count }, (_, index) => {
    const { seq = 0, delta = new Uint8Array() } = replica?.mutate((counter) => counter.increment(1)) ?? {};
    const time = NOW + seq;
    const past = new VersionVector(index === 0 ? [] : [[actor, index]]);
    const notes = [{ op: "add" as const, path: [], value: 1 }];
    story.world.history.add({ group: group.key, epoch, actor, seq, time, past, notes });
    return eventMessage(group, { actor, seq, time, delta });
  });
}

test("a frame of which a part cannot be read counts for nothing, also what comes before that part", async () => {
  const { story, stranger } = await visited({ expects: ["MALFORMED_FRAME"] });
  const before = story.value("n0");
  const good = increments(story, stranger, 1);
  // Beyond its page: no peer of ours lists so.
  const bad: Message = { kind: "list", domain: "", from: 5, to: 9, entries: [{ hash: 10, digest: [1, 1] }] };
  stranger.say(...good, bad);
  await story.wait(200);
  expect(story.world.noticed).toContain("MALFORMED_FRAME");
  expect(stranger.timesDropped).toBe(1);
  expect(story.value("n0")).toBe(before);
  await story.conclude();
});

test("a state does not bring a group above its cap of actors", async () => {
  const { story, stranger } = await visited({ limits: { actorsPerGroupMax: 5 } });
  const actors = Array.from({ length: 20 }, (_, index) =>
    createActor(new Uint8Array(8).fill(index), new Uint8Array(8)),
  );
  const vector = new VersionVector(actors.map((actor) => [actor, 1] as const));
  const body = gCounter.encode(gCounter.create());
  stranger.say({ kind: "state", group: reference(story), vector, frontier: actors, time: NOW, whole: true, body });
  await story.wait(200);
  expect(story.world.noticed).toContain("LIMIT_EXCEEDED");
  expect(story.group("n0")).toMatchObject({ isPaused: true });
  expect(story.group("n0")?.vector.size).toBe(1);
});

test("a steady flood ends its link with the reason, although the rate allows a part of it", async () => {
  const { story, stranger } = await visited({ limits: { eventsPerSecondMax: 20 }, expects: ["MALFORMED_FRAME"] });
  const flood = increments(story, stranger, 4000);
  while (flood.length > 0 && stranger.timesDropped === 0) {
    stranger.say(...flood.splice(0, 20));
    await story.wait(50);
  }
  expect(stranger.timesDropped).toBe(1);
  expect(story.world.noticed).toContain("MALFORMED_FRAME");
  await stranger.leave();
  await story.write("n1", { settleMs: 200 });
  await story.conclude();
});

test("a group in the last of all epochs is not deleted into one that every peer refuses", async () => {
  const { story, stranger } = await visited({});
  stranger.say(...increments(story, stranger, 1, SEQ_MAX));
  await story.wait(500);
  expect(story.group("n1")?.epoch).toBe(SEQ_MAX);
  await expect(story.delete("n0")).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  await story.open("n0");
  await story.write("n0", { settleMs: 200 });
  expect(story.group("n1")?.vector.total()).toBe(2);
  await story.conclude();
});
