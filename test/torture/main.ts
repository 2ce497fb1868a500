// `npm run torture`: real processes over libp2p and LevelDB under faults; no acknowledged write may be lost.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../simulation/random.ts";
import { Cluster } from "./cluster.ts";
import { type FaultKind, PROFILES, applyFault, drawFault } from "./faults.ts";

const USAGE = `node test/dist/torture/main.js [options]
  --rounds N    faults (100)
  --seconds S   at most so long
  --nodes K     processes (3)
  --profile P   which faults: ${Object.keys(PROFILES).join(", ")} (all)
  --chapter R   rounds between two comparisons with the ledgers (12)
  --seed S      what is written and which faults come (drawn from the clock); not when, for that is the machine's`;

interface Totals {
  rounds: number;
  acknowledged: number;
  lasting: number;
  chapters: number;
  readonly problems: string[];
  readonly faults: Map<FaultKind, { done: number; refused: number }>;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "100" },
      seconds: { type: "string", default: "1000000" },
      nodes: { type: "string", default: "3" },
      profile: { type: "string", default: "all" },
      chapter: { type: "string", default: "12" },
      seed: { type: "string", default: String(Date.now() % 2 ** 32) },
      help: { type: "boolean", default: false },
    },
  });
  const kinds = PROFILES[values.profile];
  if (values.help || kinds === undefined) {
    console.log(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const random = new Random(Number(values.seed), "torture");
  const folder = mkdtempSync(join(tmpdir(), "coppice-torture-"));
  const cluster = await Cluster.create(folder, Number(values.nodes), random);
  console.log(`seed ${values.seed}, ${values.nodes} nodes, profile ${values.profile}`);
  const limits = { rounds: Number(values.rounds), seconds: Number(values.seconds), chapter: Number(values.chapter) };
  // Asked to stop, it still compares and cleans up; asked again, it dies.
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  let isClean = false;
  try {
    isClean = await torture(cluster, random, kinds, { ...limits, signal: stop.signal });
  } finally {
    await cluster.close();
    // What went wrong can be looked at: directories and ledgers stay then.
    if (isClean) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    else console.log(`kept: ${folder}`);
  }
  if (!isClean) process.exitCode = 1;
}

interface Limits {
  readonly signal: AbortSignal;
  readonly rounds: number;
  readonly seconds: number;
  readonly chapter: number;
}

/** Whether nothing was found. */
async function torture(
  cluster: Cluster,
  random: Random,
  kinds: readonly FaultKind[],
  limits: Limits,
): Promise<boolean> {
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  const totals: Totals = { rounds: 0, acknowledged: 0, lasting: 0, chapters: 0, problems: [], faults: new Map() };
  const isOver = (): boolean => limits.signal.aborted || seconds() > limits.seconds;
  while (totals.rounds < limits.rounds && !isOver() && totals.problems.length === 0) {
    for (let left = Math.min(limits.chapter, limits.rounds - totals.rounds); left > 0; left--) {
      await cluster.revive();
      const kind = drawFault(random, kinds);
      const counts = totals.faults.get(kind) ?? { done: 0, refused: 0 };
      totals.faults.set(kind, counts);
      if (await applyFault(cluster, kind, random)) counts.done++;
      else counts.refused++;
      totals.rounds++;
      if (isOver()) break;
    }
    const { acknowledged, lasting, problems } = await cluster.conclude();
    totals.acknowledged += acknowledged;
    totals.lasting += lasting;
    totals.chapters++;
    totals.problems.push(...problems.map((problem) => `chapter ${cluster.chapter}: ${problem}`));
    console.log(
      `${totals.rounds} rounds, ${cluster.kills} kills, ${totals.lasting} lasting writes checked, ` +
        `${totals.problems.length} problems, ${seconds().toFixed(0)} s`,
    );
    await cluster.nextChapter();
  }
  summarise(cluster, totals);
  return totals.problems.length === 0;
}

function summarise(cluster: Cluster, totals: Totals): void {
  console.log("\nfault            times   not permitted or not possible then");
  for (const [kind, { done, refused }] of [...totals.faults].sort(([a], [b]) => (a < b ? -1 : 1))) {
    console.log(`${kind.padEnd(14)} ${String(done).padStart(7)} ${String(refused).padStart(7)}`);
  }
  const notices = new Map<string, number>();
  for (const member of cluster.members) {
    for (const [code, count] of member.notices) notices.set(code, (notices.get(code) ?? 0) + count);
  }
  console.log(`notices: ${[...notices].map(([code, count]) => `${code} ${count}`).join(", ") || "none"}`);
  for (const problem of totals.problems.slice(0, 40)) console.log(`PROBLEM ${problem}`);
  console.log(
    `\n${totals.rounds} rounds, ${cluster.kills} kill -9, ${totals.chapters} comparisons, ${totals.acknowledged} acknowledged ` +
      `writes, ${totals.lasting} of them lasting, ${totals.problems.length} problems`,
  );
}

await main();
