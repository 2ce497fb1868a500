import { Scenario } from "./scenario.ts";
import type { Violation } from "./world.ts";

/** What can happen between two nodes; `n0` is the one that crashes. */
export const ACTIONS = [
  "write n0",
  "write n1",
  "write both",
  "snapshot n0",
  "restart n0",
  "delete at n0",
  "delete at n1",
  "recreate at n0",
  "cut",
  "join",
] as const;

export type Action = (typeof ACTIONS)[number];

/** A sequence of actions, tried with a crash at every step that the disk of `n0` takes. */
export interface Tried {
  readonly actions: readonly Action[];
  readonly crashPoints: number;
  readonly violations: readonly { readonly crash: string; readonly violation: Violation }[];
}

/** How often `n0` crashes at each point: its process alone, and its power. */
const CRASHES = ["kill", "power-cut"] as const;
/** Short enough that commits are still under way. */
const BETWEEN_MS = 1;

/** Tries every sequence of `length` actions. */
export async function* exhaust(length: number): AsyncGenerator<Tried> {
  for (const actions of sequences(length)) {
    const whole = await run(actions, "none", undefined);
    const violations: { crash: string; violation: Violation }[] = [];
    if (whole.violation !== undefined) violations.push({ crash: "no crash", violation: whole.violation });
    let crashPoints = 0;
    for (let step = whole.firstStep + 1; step <= whole.lastStep; step++) {
      for (const crash of CRASHES) {
        crashPoints++;
        const { violation } = await run(actions, crash, step);
        if (violation !== undefined) violations.push({ crash: `${crash} at step ${step}`, violation });
      }
    }
    yield { actions, crashPoints, violations };
  }
}

function* sequences(length: number): Generator<readonly Action[]> {
  if (length === 0) return yield [];
  for (const before of sequences(length - 1)) for (const action of ACTIONS) yield [...before, action];
}

interface Ran {
  readonly violation: Violation | undefined;
  /** The steps of the disk before the actions began and after they had ended. */
  readonly firstStep: number;
  readonly lastStep: number;
}

async function run(
  actions: readonly Action[],
  crash: "none" | "kill" | "power-cut",
  step: number | undefined,
): Promise<Ran> {
  const story = new Scenario({ machines: [{ durability: "log" }, { durability: "sync" }], groups: ["progress"] });
  const { world } = story;
  const [machine] = world.machines;
  if (machine === undefined) throw new TypeError("a scenario has machines");
  await story.start("n0", "n1");
  await story.open("n0");
  await story.open("n1");
  const firstStep = machine.diskSteps;
  machine.crashAtStep = step;
  machine.crash = () => {
    if (crash === "kill") story.kill("n0");
    else story.powerCut("n0");
  };
  for (const action of actions) {
    act(story, action);
    await world.advance(BETWEEN_MS);
  }
  await world.advance(20);
  const lastStep = machine.diskSteps;
  return { violation: await world.conclude(), firstStep, lastStep };
}

/** Does what can be done now: a node that has crashed does nothing. */
function act(story: Scenario, action: Action): void {
  switch (action) {
    case "write n0":
      return story.writeNow("n0");
    case "write n1":
      return story.writeNow("n1");
    case "write both":
      story.writeNow("n0");
      return story.writeNow("n1");
    case "snapshot n0":
      return story.snapshotNow("n0");
    case "restart n0":
      return story.restartNow("n0");
    case "delete at n0":
      return story.deleteNow("n0");
    case "delete at n1":
      return story.deleteNow("n1");
    case "recreate at n0":
      return story.recreateNow("n0");
    case "cut":
      return story.cut("n0", "n1");
    case "join":
      return story.join("n0", "n1");
  }
}
