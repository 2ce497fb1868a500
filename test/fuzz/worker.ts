// A thread that fuzzes targets one after the other. What it is about to run stands in shared memory: when it hangs or
// runs out of memory, the main thread knows the input.
import { parentPort, workerData } from "node:worker_threads";
import { Random } from "../simulation/random.ts";
import { Coverage } from "./coverage.ts";
import { Fuzzer } from "./fuzzer.ts";
import { readKept } from "./kept.ts";
import { Slate } from "./slate.ts";
import type { Target } from "./target.ts";
import { TARGETS } from "./targets.ts";

export interface Task {
  readonly targets: readonly string[];
  /** Inputs for each target, and at most so many seconds. */
  readonly inputs: number;
  readonly seconds: number;
  readonly seed: number;
  /** Whether to tell which inputs are worth keeping. */
  readonly distils: boolean;
  /** Whether to go without looking at which code has run. */
  readonly isBlind: boolean;
  /** Instead of fuzzing: this input alone. */
  readonly input: Uint8Array | undefined;
  readonly slate: SharedArrayBuffer;
}

/** What came of one target. */
export interface Report {
  readonly target: string;
  readonly inputs: number;
  readonly accepted: number;
  readonly seconds: number;
  /** Characters of code reached by the seeds alone, and in all. */
  readonly seeded: number;
  readonly characters: number;
  readonly corpusSize: number;
  readonly crashes: readonly { readonly input: Uint8Array; readonly what: string }[];
  /** The few inputs that reach what the seeds do not; empty unless asked for. */
  readonly kept: readonly Uint8Array[];
}

const KEPT_MAX = 24;
const KEPT_BYTES_MAX = 400;

async function fuzz(name: string, task: Task, slate: Slate): Promise<Report> {
  const startedAt = performance.now();
  const target = await TARGETS.get(name)?.();
  if (target === undefined) throw new TypeError(`no target ${name}`);
  const coverage = new Coverage(!task.isBlind);
  try {
    const { corpus, regressions } = readKept(name);
    const fuzzer = new Fuzzer({
      target,
      coverage,
      random: new Random(task.seed, name),
      corpus: [...corpus, ...regressions],
      about: (input) => slate.write(input),
    });
    if (task.input !== undefined) {
      const what = await fuzzer.check(task.input);
      if (what !== undefined) fuzzer.crashes.push({ input: task.input, what });
      fuzzer.inputs = 1;
    } else await fuzzer.run(Math.ceil(task.inputs * (target.share ?? 1)), startedAt + task.seconds * 1000);
    const seconds = (performance.now() - startedAt) / 1000;
    const { characters } = coverage;
    const kept = task.distils ? await distil(target, coverage, fuzzer.corpus) : [];
    const { inputs, accepted, crashes } = fuzzer;
    const { seeded, corpus: all } = fuzzer;
    return { target: name, inputs, accepted, seconds, seeded, characters, corpusSize: all.length, crashes, kept };
  } finally {
    coverage.close();
  }
}

/** The shortest inputs first, those alone that reach what none before reached. */
async function distil(target: Target, coverage: Coverage, corpus: readonly Uint8Array[]): Promise<Uint8Array[]> {
  coverage.forget();
  const run = async (input: Uint8Array): Promise<boolean> => {
    await target.run(input);
    return coverage.merge(coverage.take()) > 0;
  };
  coverage.take();
  for (const seed of target.seeds) await run(seed);
  const kept: Uint8Array[] = [];
  const seeds = new Set(target.seeds);
  const others = corpus.filter((input) => !seeds.has(input) && input.length <= KEPT_BYTES_MAX);
  for (const input of others.sort((a, b) => a.length - b.length)) {
    if (kept.length < KEPT_MAX && (await run(input))) kept.push(input);
  }
  return kept;
}

async function main(task: Task): Promise<void> {
  const slate = new Slate(task.slate);
  for (const name of task.targets) {
    parentPort?.postMessage({ started: name });
    parentPort?.postMessage(await fuzz(name, task, slate));
  }
}

await main(workerData as Task);
