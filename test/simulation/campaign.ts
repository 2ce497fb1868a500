import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type FaultKind, type PlanOptions, drawPlan } from "./plan.ts";
import { shrink } from "./shrink.ts";
import { World } from "./world.ts";

/** What one seed came to, small enough to be passed between processes. */
export interface SeedReport {
  readonly seed: number;
  readonly violation:
    | { readonly oracle: string; readonly message: string; readonly keep: readonly number[] }
    | undefined;
  readonly virtualMs: number;
  readonly healingMs: number;
  readonly events: number;
  readonly steps: number;
  readonly states: number;
  readonly reads: number;
  readonly faults: readonly (readonly [FaultKind, number])[];
}

/** Runs one seed; a violation is shrunk. */
export async function runSeed(seed: number, options: PlanOptions): Promise<SeedReport> {
  const plan = drawPlan(seed, options);
  const outcome = await new World(plan).run();
  const { virtualMs, healingMs, events, steps, states, reads } = outcome;
  const measures = { seed, virtualMs, healingMs, events, steps, states, reads, faults: [...outcome.faults] };
  if (outcome.violation === undefined) return { ...measures, violation: undefined };
  const { keep, outcome: shrunk } = await shrink(plan, outcome);
  const { oracle, message } = shrunk.violation ?? outcome.violation;
  return { ...measures, violation: { oracle, message, keep } };
}

/** Runs seeds, in other processes when there are several jobs. Reports come as they are ready. Throws when a process dies. */
export async function* runSeeds(
  from: number,
  count: number,
  jobs: number,
  options: PlanOptions,
): AsyncGenerator<SeedReport> {
  if (jobs <= 1) {
    for (let seed = from; seed < from + count; seed++) yield await runSeed(seed, options);
    return;
  }
  const ready: SeedReport[] = [];
  let wake: () => void = () => {};
  let next = from;
  let running = 0;
  let failure: Error | undefined;
  const workers: ChildProcess[] = [];
  for (let job = 0; job < Math.min(jobs, count); job++) {
    const worker = fork(fileURLToPath(new URL("worker.js", import.meta.url)), { serialization: "advanced" });
    workers.push(worker);
    const give = (): void => {
      if (!worker.connected) return;
      if (next < from + count) worker.send({ seed: next++, options });
      else worker.disconnect();
    };
    running++;
    worker.on("message", (report: SeedReport) => {
      ready.push(report);
      give();
      wake();
    });
    worker.on("exit", (code, signal) => {
      // An interrupt from the terminal reaches the workers, too.
      if (code !== 0 && signal !== "SIGINT") failure ??= new Error(`a worker ended with ${code ?? signal}`);
      running--;
      wake();
    });
    give();
  }
  try {
    while (running > 0 || ready.length > 0) {
      const report = ready.shift();
      if (report !== undefined) yield report;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    if (failure !== undefined) throw failure;
  } finally {
    for (const worker of workers) if (worker.connected) worker.disconnect();
  }
}
