// `pnpm sim`: many seeds, or with `--trace` one of them line by line.
import { parseArgs } from "node:util";
import { type SeedReport, runSeeds } from "./campaign.ts";
import { exhaust } from "./exhaustive.ts";
import { type FaultKind, PROFILES, type PlanOptions, drawPlan } from "./plan.ts";
import { withFaults } from "./shrink.ts";
import { World } from "./world.ts";

const USAGE = `node test/dist/simulation/main.js [options]
  --seeds N     how many seeds to run (100)
  --from S      the first seed (1)
  --nodes K     machines at the start; drawn by the seed when left out
  --profile P   which faults: ${Object.keys(PROFILES).join(", ")} (all)
  --jobs J      processes (1)
  --keep I,J    only the faults of these numbers
  --trace       one seed, with every step
  --exhaustive L   instead of seeds: every sequence of L actions, with a crash at every step of the disk`;

const PROGRESS_MS = 10_000;

interface Totals {
  seeds: number;
  virtualMs: number;
  events: number;
  steps: number;
  states: number;
  reads: number;
  longestMs: number;
  readonly faults: Map<FaultKind, number>;
  readonly violations: SeedReport[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "100" },
      from: { type: "string", default: "1" },
      nodes: { type: "string" },
      profile: { type: "string", default: "all" },
      jobs: { type: "string", default: "1" },
      keep: { type: "string" },
      trace: { type: "boolean", default: false },
      exhaustive: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const kinds = PROFILES[values.profile];
  if (values.help || kinds === undefined) {
    console.log(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  if (values.exhaustive !== undefined) return await exhaustive(Number(values.exhaustive));
  const from = Number(values.from);
  const options: PlanOptions = { kinds, ...(values.nodes !== undefined && { nodes: Number(values.nodes) }) };
  if (values.trace || values.keep !== undefined) return await replay(from, options, values.keep);
  const suffix = `${values.nodes === undefined ? "" : ` --nodes ${values.nodes}`}${values.profile === "all" ? "" : ` --profile ${values.profile}`}`;
  const totals = await campaign(from, Number(values.seeds), Number(values.jobs), options, suffix);
  if (totals.violations.length > 0) process.exitCode = 1;
}

async function exhaustive(length: number): Promise<void> {
  const startedAt = performance.now();
  let sequences = 0;
  let crashPoints = 0;
  let violations = 0;
  for await (const tried of exhaust(length)) {
    sequences++;
    crashPoints += tried.crashPoints;
    for (const { crash, violation } of tried.violations) {
      violations++;
      console.log(`${tried.actions.join(", ")}; ${crash}: ${violation.oracle}: ${violation.message.split("\n")[0]}`);
    }
  }
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `${sequences} sequences of ${length} actions, ${crashPoints} crash points, ${violations} violations, ${seconds.toFixed(0)} s`,
  );
  if (violations > 0) process.exitCode = 1;
}

/** Prints every step of one seed. */
async function replay(seed: number, options: PlanOptions, keep: string | undefined): Promise<void> {
  const drawn = drawPlan(seed, options);
  const plan = keep === undefined ? drawn : withFaults(drawn, keep === "" ? [] : keep.split(",").map(Number));
  const { machines, topology, groups } = plan;
  console.log(`${machines.length} machines (${machines.map(({ durability }) => durability).join(", ")}), ${topology}`);
  console.log(`groups ${groups.join(", ")}`);
  for (const fault of plan.faults) console.log(`planned at ${fault.atMs.toFixed(0)} ms: ${fault.kind}`);
  const outcome = await new World(plan, { trace: true }).run();
  for (const line of outcome.lines) console.log(line);
  console.log(`trace hash ${outcome.traceHash}`);
  if (outcome.violation !== undefined) process.exitCode = 1;
}

async function campaign(
  from: number,
  count: number,
  jobs: number,
  options: PlanOptions,
  suffix: string,
): Promise<Totals> {
  const startedAt = performance.now();
  const faults = new Map<FaultKind, number>();
  const totals: Totals = {
    seeds: 0,
    virtualMs: 0,
    events: 0,
    steps: 0,
    states: 0,
    reads: 0,
    longestMs: 0,
    faults,
    violations: [],
  };
  let saidAt = startedAt;
  // Asked to stop, it still says what it has seen.
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  for await (const report of runSeeds(from, count, jobs, options)) {
    add(totals, report);
    if (report.violation !== undefined) tellViolation(report, suffix);
    if (stop.signal.aborted) break;
    if (performance.now() - saidAt < PROGRESS_MS) continue;
    saidAt = performance.now();
    console.log(progress(totals, count, (saidAt - startedAt) / 1000));
  }
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(progress(totals, count, seconds));
  const kinds = [...totals.faults].sort(([, a], [, b]) => b - a).map(([kind, times]) => `${kind} ${times}`);
  console.log(`faults of ${kinds.length} kinds: ${kinds.join(", ")}`);
  console.log(
    `${(totals.virtualMs / 3_600_000).toFixed(1)} h virtual time, ${totals.events} events, ${totals.steps} steps, ` +
      `${totals.reads} reads that waited, ${totals.states} distinct states, longest healing ${totals.longestMs.toFixed(0)} ms`,
  );
  return totals;
}

function add(totals: Totals, report: SeedReport): void {
  totals.seeds++;
  totals.virtualMs += report.virtualMs;
  totals.events += report.events;
  totals.steps += report.steps;
  totals.states += report.states;
  totals.reads += report.reads;
  totals.longestMs = Math.max(totals.longestMs, report.healingMs);
  for (const [kind, times] of report.faults) totals.faults.set(kind, (totals.faults.get(kind) ?? 0) + times);
  if (report.violation !== undefined) totals.violations.push(report);
}

function progress({ seeds, violations }: Totals, count: number, seconds: number): string {
  return `${seeds} of ${count} seeds, ${violations.length} violations, ${(seeds / seconds).toFixed(1)} seeds/s`;
}

function tellViolation({ seed, violation }: SeedReport, suffix: string): void {
  if (violation === undefined) return;
  const message = violation.message.split("\n")[0]?.slice(0, 600);
  console.log(`seed ${seed} violates ${violation.oracle}: ${message}`);
  console.log(
    `  needs faults ${violation.keep.join(", ") || "none"}; replay: pnpm sim --from ${seed}${suffix} --keep "${violation.keep.join(",")}" --trace`,
  );
}

await main();
