import { runSeed } from "./campaign.ts";
import type { PlanOptions } from "./plan.ts";

/** Runs the seeds that its parent sends, one at a time. */
process.on("message", (task: { readonly seed: number; readonly options: PlanOptions }) => {
  runSeed(task.seed, task.options).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
