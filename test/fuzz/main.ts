// `npm run fuzz`: every decoder that a peer or a file can reach is given what it did not expect.
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { writeCorpus } from "./kept.ts";
import { Slate } from "./slate.ts";
import { hex } from "./target.ts";
import { TARGETS } from "./targets.ts";
import type { Report, Task } from "./worker.ts";

const USAGE = `node test/dist/fuzz/main.js [options]
  --inputs N    inputs in all, shared among the targets (1000000); 0: only the seeds and what is kept
  --seconds S   at most so long in all, shared likewise
  --target T    only targets whose names contain T; several with commas
  --seed S      where the random changes begin (drawn from the clock)
  --input HEX   one input alone, for one target
  --blind       do not look at which code has run: faster for few inputs
  --save        keep the inputs that reach what the seeds do not
  --list        the names of the targets`;

/** A target that noted no input for so long hangs, or its process has no time: then it is tried once more. */
const HANG_MS = 30_000;
const HEAP_MB_MAX = 1024;

type Finding = { readonly target: string; readonly input: Uint8Array; readonly what: string };

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      inputs: { type: "string", default: "1000000" },
      seconds: { type: "string", default: "1000000" },
      target: { type: "string", default: "" },
      seed: { type: "string", default: String(Date.now() % 2 ** 32) },
      input: { type: "string" },
      blind: { type: "boolean", default: false },
      save: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const wanted = values.target.split(",");
  const names = [...TARGETS.keys()].filter((name) => wanted.some((part) => name === part));
  const targets =
    names.length > 0 ? names : [...TARGETS.keys()].filter((name) => wanted.some((part) => name.includes(part)));
  if (values.list) return console.log(targets.join("\n"));
  const input = values.input === undefined ? undefined : new Uint8Array(Buffer.from(values.input, "hex"));
  if (values.help || targets.length === 0 || (input !== undefined && targets.length > 1)) {
    console.log(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const slate = new Slate();
  const task: Task = {
    targets,
    inputs: Math.ceil(Number(values.inputs) / targets.length),
    seconds: Number(values.seconds) / targets.length,
    seed: Number(values.seed),
    distils: values.save,
    isBlind: values.blind,
    input,
    slate: slate.memory,
  };
  console.log(`seed ${task.seed}, ${targets.length} targets`);
  await campaign(task, slate);
}

async function campaign(task: Task, slate: Slate): Promise<void> {
  const startedAt = performance.now();
  const reports: Report[] = [];
  const findings: Finding[] = [];
  const found = (finding: Finding): void => {
    findings.push(finding);
    const { target, input, what } = finding;
    console.log(`${target}: ${what}\n  replay: npm run fuzz -- --target ${target} --input ${hex(input)}`);
  };
  const done = (report: Report): void => {
    reports.push(report);
    console.log(row(report));
    for (const crash of report.crashes) found({ target: report.target, ...crash });
    if (task.distils) writeCorpus(report.target, report.kept);
  };
  console.log("target               inputs   inputs/s  accepted   corpus   code reached (by the seeds)");
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  for (let left = task.targets; left.length > 0;) {
    const stopped = await fuzzTargets({ ...task, targets: left }, slate, done, stop.signal);
    if (stopped === undefined) break;
    found({ target: stopped.target, input: slate.read(), what: stopped.what });
    left = left.slice(left.indexOf(stopped.target) + 1);
  }
  const inputs = reports.reduce((sum, report) => sum + report.inputs, 0);
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `\n${inputs} inputs for ${reports.length} targets, ${(inputs / seconds).toFixed(0)} inputs/s, ${findings.length} findings`,
  );
  if (findings.length > 0) process.exitCode = 1;
}

function row({ target, inputs, seconds, accepted, corpusSize, seeded, characters }: Report): string {
  const share = inputs === 0 ? 0 : (100 * accepted) / inputs;
  return [
    target.padEnd(18),
    String(inputs).padStart(9),
    (inputs / seconds).toFixed(0).padStart(10),
    `${share.toFixed(0)} %`.padStart(9),
    String(corpusSize).padStart(8),
    `${characters} (${seeded})`.padStart(17),
  ].join(" ");
}

/** Fuzzes in a thread of its own; when that hangs or dies, which target was at work, and what happened. */
async function fuzzTargets(
  task: Task,
  slate: Slate,
  done: (report: Report) => void,
  signal: AbortSignal,
): Promise<{ readonly target: string; readonly what: string } | undefined> {
  const worker = new Worker(new URL("worker.js", import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
  });
  let target = task.targets[0] ?? "";
  let failure: string | undefined;
  const ended = new Promise<void>((resolve) => {
    worker.on("message", (message: Report | { readonly started: string }) => {
      if ("started" in message) target = message.started;
      else done(message);
    });
    worker.on("error", (error: Error) => (failure = `the thread died: ${error.stack ?? error.message}`));
    worker.on("exit", () => resolve());
  });
  // Asked to stop, what it is at is not counted.
  signal.addEventListener("abort", () => void worker.terminate(), { once: true });
  const stop = new AbortController();
  const watch = async (): Promise<void> => {
    for (let count = -1; count !== slate.count || count === 0;) {
      count = slate.count;
      await sleep(HANG_MS, undefined, { signal: stop.signal });
    }
    failure = `does not end within ${HANG_MS / 1000} s`;
    await worker.terminate();
  };
  const watching = watch().catch(() => undefined);
  await ended;
  stop.abort();
  await watching;
  return failure === undefined ? undefined : { target, what: failure };
}

await main();
