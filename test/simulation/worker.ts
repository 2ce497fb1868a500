import { runSeed } from "./campaign.ts";
import type { PlanOptions } from "./plan.ts";

// A campaign that is over, or was stopped, needs no more reports.
process.once("disconnect", () => process.exit());

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
