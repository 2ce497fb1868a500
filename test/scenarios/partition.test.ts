// Convergence after a partition, in virtual time: the same on every machine, however slow.
import { expect, test } from "vitest";
import { Scenario } from "../simulation/scenario.ts";

const NODES = 10;
const GROUPS = ["counter", "notes", "words", "deep"];

test("ten nodes that were two halves hold the same within two seconds after the partition is healed", async () => {
  const names = Array.from({ length: NODES }, (_, index) => `n${index}`);
  const story = new Scenario({ machines: names.map(() => ({})), groups: GROUPS });
  await story.start(...names);
  for (const at of GROUPS.keys()) for (const name of names) await story.open(name, { at });
  for (const name of names) await story.write(name);
  await story.wait(1000);
  const halves = [names.slice(0, NODES / 2), names.slice(NODES / 2)];
  const crossing = (halves[0] ?? []).flatMap((a) => (halves[1] ?? []).map((b) => [a, b] as const));
  for (const [a, b] of crossing) story.cut(a, b);
  for (let round = 0; round < 8; round++) {
    for (const at of GROUPS.keys()) for (const name of names) await story.write(name, { at });
    await story.wait(100);
  }
  const digests = (name: string): string =>
    JSON.stringify([...GROUPS.keys()].map((at) => story.group(name, at)?.digest()));
  const areEqual = (): boolean => new Set(names.map(digests)).size === 1;
  expect(areEqual()).toBe(false);
  for (const [a, b] of crossing) story.join(a, b);
  expect(await story.world.until(areEqual, 2000)).toBe(true);
  await story.conclude();
});
