// Runs in a process of its own: plants the fault it is sent, then runs seeds until one notices.
import { register } from "node:module";
import type { PlantedBug } from "./bugs.ts";

/** What it takes to notice a fault. */
export interface Catch {
  readonly seeds: number;
  readonly oracle: string | undefined;
  readonly message: string;
}

interface Task {
  readonly bug: PlantedBug;
  readonly seedsMax: number;
}

process.once("message", ({ bug, seedsMax }: Task) => {
  run(bug, seedsMax).then(
    (caught) => process.send?.(caught, () => process.exit(0)),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});

async function run(bug: PlantedBug, seedsMax: number): Promise<Catch> {
  register("./loader.js", import.meta.url, { data: bug });
  // Only now, so that every module passes through the hook.
  const { drawPlan } = await import("../simulation/plan.ts");
  const { World } = await import("../simulation/world.ts");
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { violation } = await new World(drawPlan(seed, bug.options)).run();
    if (violation === undefined) continue;
    return { seeds: seed, oracle: violation.oracle, message: violation.message.split("\n")[0] ?? "" };
  }
  return { seeds: seedsMax, oracle: undefined, message: "" };
}
