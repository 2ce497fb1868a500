import type { Plan } from "./plan.ts";
import { type Outcome, World } from "./world.ts";

/** A smaller run that violates the same oracle, with the numbers of the faults that it still needs. */
export interface Shrunk {
  readonly keep: readonly number[];
  readonly outcome: Outcome;
}

/** Leaves out faults, halves at first and then one by one, as long as the same oracle still fires. */
export async function shrink(plan: Plan, found: Outcome, runsMax = 80): Promise<Shrunk> {
  let keep = plan.faults.map((_, index) => index);
  let outcome = found;
  let runs = 0;
  for (let size = Math.ceil(keep.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < keep.length && runs < runsMax;) {
      const fewer = [...keep.slice(0, start), ...keep.slice(start + size)];
      const tried = await new World(withFaults(plan, fewer)).run();
      runs++;
      if (tried.violation?.oracle === found.violation?.oracle) {
        keep = fewer;
        outcome = tried;
      } else {
        start += size;
      }
    }
  }
  return { keep, outcome };
}

/** The plan with only the faults of these numbers. */
export function withFaults(plan: Plan, keep: readonly number[]): Plan {
  return { ...plan, faults: plan.faults.filter((_, index) => keep.includes(index)) };
}
