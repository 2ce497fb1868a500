import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Command, InvalidArgumentError } from "commander";
import { Bench, type Latency, type Rate, type Target } from "../bench.ts";
import { findNode } from "../client.ts";
import { type CliContext, type ClientOptions, parseCount, withConnection } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { interruptible } from "../interrupt.ts";
import { withProgress } from "../progress.ts";

interface BenchOptions extends ClientOptions {
  readonly seconds: number;
  readonly connections: number;
}

interface BenchReport {
  readonly writes: Rate;
  readonly reads: Rate;
  readonly watch: Latency;
  /** From a write at one node to a watcher at another; of temporary nodes only. */
  readonly propagation?: Latency;
}

const SECONDS_DEFAULT = 2;
const CONNECTIONS_DEFAULT = 16;
const READY_MS_MAX = 30_000;

export function benchCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("bench")
    .summary("measure what a node does over HTTP")
    .description(
      "Measures writes and reads in a second, and how long a write takes to a watcher. Without --data or --url it does so " +
        "with two temporary nodes of its own, and measures also how long a write takes from the one to the other. Of a " +
        "node that is named, it writes to the group coppice-bench/counter, which it deletes at the end.",
    )
    .option("--seconds <n>", "how long each measurement takes, 0.1 to 60", parseSeconds, SECONDS_DEFAULT)
    .option("--connections <n>", "requests under way at a time", parseCount, CONNECTIONS_DEFAULT)
    .addHelpText("after", "\nExamples:\n  $ coppice bench\n  $ coppice bench --data ./a --seconds 5 --json");
  withConnection(command).action(async (options: BenchOptions) => {
    const isNamed = ["data", "url"].some((name) => command.getOptionValueSource(name) === "cli");
    const report = await withProgress(streams, options, ["measuring", "measurements"], ({ tell }) =>
      interruptible(async (signal) => {
        if (isNamed) return await measure([await findNode(options)], options, tell, signal);
        return await withTemporaryNodes(signal, (targets) => measure(targets, options, tell, signal));
      }),
    );
    streams.out(options.json === true ? `${JSON.stringify(report)}\n` : describe(report));
  });
}

async function measure(
  [first, second]: readonly [Target, Target?],
  { seconds, connections }: BenchOptions,
  tell: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<BenchReport> {
  const bench = new Bench(first, connections, signal);
  const other = second === undefined ? undefined : new Bench(second, 1, signal);
  const total = other === undefined ? 3 : 4;
  try {
    tell(0, total);
    const writes = await bench.writes(seconds);
    tell(1, total);
    const reads = await bench.reads(seconds);
    tell(2, total);
    const watch = await bench.watch(bench, seconds);
    if (other === undefined) return { writes, reads, watch };
    tell(3, total);
    // Its first event arrives once the group has come over.
    await other.write();
    return { writes, reads, watch, propagation: await other.watch(bench, seconds) };
  } finally {
    await bench.close();
    await other?.close();
  }
}

/** Two linked nodes on temporary directories, gone at the end. */
async function withTemporaryNodes<R>(
  signal: AbortSignal,
  use: (targets: readonly [Target, Target]) => Promise<R>,
): Promise<R> {
  const directory = await mkdtemp(join(tmpdir(), "coppice-bench-"));
  const nodes: Daemon[] = [];
  try {
    const first = await startDaemon(join(directory, "a"), ["--allow-any"], signal);
    nodes.push(first);
    const second = await startDaemon(join(directory, "b"), ["--peer", first.address], signal);
    nodes.push(second);
    return await use([first, second]);
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Daemon extends Target {
  readonly address: string;
  stop(): Promise<void>;
}

async function startDaemon(data: string, args: readonly string[], signal: AbortSignal): Promise<Daemon> {
  const main = process.argv[1] ?? "";
  const options = ["start", "--data", data, "--http", "127.0.0.1:0", "--log-format", "json"];
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("COPPICE_")));
  const child = spawn(process.execPath, [main, ...options, ...args], { stdio: ["ignore", "pipe", "ignore"], env });
  const ended = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await ended;
  };
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(READY_MS_MAX)]);
    for await (const line of createInterface({ input: child.stdout, signal: limit })) {
      const {
        event,
        url = "",
        tokenFile = "",
        addresses = [],
      } = JSON.parse(line) as {
        readonly event: string;
        readonly url?: string;
        readonly tokenFile?: string;
        readonly addresses?: readonly string[];
      };
      if (event !== "ready") continue;
      child.stdout.resume();
      return { url, token: (await readFile(tokenFile, "utf8")).trim(), address: addresses[0] ?? "", stop };
    }
  } catch (error) {
    await stop();
    throw error;
  }
  await stop();
  throw new CliError(EXIT.failed, "INTERNAL", "a temporary node did not start");
}

function describe({ writes, reads, watch, propagation }: BenchReport): string {
  const rate = (name: string, { perSecond, p50Ms, p99Ms }: Rate): string =>
    `${name.padEnd(13)}${`${perSecond.toLocaleString("en")}/s`.padStart(10)}   p50 ${p50Ms} ms   p99 ${p99Ms} ms\n`;
  const latency = (name: string, { count, p50Ms, p99Ms }: Latency): string =>
    `${name.padEnd(13)}${`${count}×`.padStart(10)}   p50 ${p50Ms} ms   p99 ${p99Ms} ms\n`;
  const last = propagation === undefined ? "" : latency("propagation", propagation);
  return rate("writes", writes) + rate("reads", reads) + latency("watch", watch) + last;
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (seconds >= 0.1 && seconds <= 60) return seconds;
  throw new InvalidArgumentError("It must be a number of seconds from 0.1 to 60.");
}
