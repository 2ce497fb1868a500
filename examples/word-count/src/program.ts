import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Cluster } from "./cluster.ts";
import { type Display, createDisplay } from "./display.ts";
import { type Input, checkUnchanged, surveyInput } from "./input.ts";
import { formatReport } from "./report.ts";
import { runCluster } from "./run.ts";
import { type CountInput, countSequentially } from "./sequential-count.ts";

const HELP = `Counts the words of a text on three Coppice nodes, kills one of them on the way, and checks the result.

npm start -- [--input PATH] [--keep]

  --input PATH       a text file, or a folder of them (default: this repository's documents and sources)
  --keep             leave the nodes running until Ctrl-C, and say how to reach them
  --timeout SECONDS  give up after this time (default: 80, and 2 more for each MiB of input)
  --help             this text`;

const REPOSITORY = fileURLToPath(new URL("../../../", import.meta.url));
const INTERRUPTED = 130;

interface Options {
  readonly input: string | undefined;
  readonly keep: boolean;
  readonly timeoutS: number | undefined;
}

/**
 * Runs the program; resolves to its exit status.
 *
 * @param count what the replicated count is compared with
 */
export async function main(args: readonly string[], count: CountInput = countSequentially): Promise<number> {
  const display = createDisplay(process.stdout);
  const stopping = new AbortController();
  const interrupt = (): void => stopping.abort(new Interruption());
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  try {
    const options = parseOptions(args);
    if (options === "help") display.say(HELP);
    else await run(options, count, display, stopping);
    return 0;
  } catch (error) {
    display.close();
    console.error(`\n${error instanceof Error ? error.message : String(error)}`);
    return error instanceof Interruption ? INTERRUPTED : 1;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

class Interruption extends Error {
  override readonly message = "interrupted";
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        input: { type: "string" },
        keep: { type: "boolean", default: false },
        timeout: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${reason}; npm start -- --help lists the options`, { cause });
  }
}

function parseOptions(args: readonly string[]): Options | "help" {
  const { values } = parse(args);
  if (values.help) return "help";
  if (values.input === "") throw new Error("--input: name a file or folder");
  const timeoutS = values.timeout === undefined ? undefined : Number(values.timeout);
  if (timeoutS !== undefined && !(timeoutS > 0 && timeoutS < 1e6)) {
    throw new Error(`--timeout: ${values.timeout} is no number of seconds`);
  }
  return { input: values.input, keep: values.keep, timeoutS };
}

async function run(options: Options, count: CountInput, display: Display, stopping: AbortController): Promise<void> {
  const path = options.input ?? REPOSITORY;
  const input = await surveyInput(path, options.input === undefined);
  const [files, bytes] = [input.files.length, input.bytes].map((figure) => figure.toLocaleString("en"));
  display.say(`${path}: ${files} files, ${bytes} bytes, ${input.chunks} chunks`);
  const folder = await mkdtemp(join(tmpdir(), "coppice-word-count-"));
  const cluster = new Cluster(input, folder, {
    onProgress: (node) => display.advance(node.name, node.progress.chunks, node.chunks),
    onNotice: (node, code, message) => display.say(`${node.name} notices ${code}: ${message}`),
    onFailure: (_node, error) => stopping.abort(error),
  });
  const timeoutS = options.timeoutS ?? 80 + 2 * Math.ceil(input.bytes / (1 << 20));
  const timer = setTimeout(() => {
    stopping.abort(new Error(`gave up after ${timeoutS} s, waiting for ${cluster.describe()}`));
  }, timeoutS * 1000);
  try {
    await orAborted(stopping.signal, countAndCompare(input, count, cluster, display));
    if (options.keep) {
      clearTimeout(timer);
      display.say(describeCluster(cluster, folder));
      await orAborted(stopping.signal, new Promise(() => {})).catch(() => {});
    }
    await cluster.stop();
  } finally {
    clearTimeout(timer);
    await cluster.kill();
    if (!options.keep) await rm(folder, { recursive: true, force: true });
  }
}

async function countAndCompare(input: Input, count: CountInput, cluster: Cluster, display: Display): Promise<void> {
  cluster.awaiting = "the sequential count";
  const expected = await count(input, (bytes) => display.advance("sequential count", bytes, input.bytes));
  if (expected.total === 0) throw new Error("--input: there is no word in it");
  // In their order, whichever of them is the first to get on.
  for (const node of cluster.nodes) display.advance(node.name, 0, node.chunks);
  const outcome = await runCluster(cluster, expected, (line) => display.say(line)).catch(async (error: unknown) => {
    // A change of the input explains whatever else went wrong.
    await checkUnchanged(input);
    throw error;
  });
  await checkUnchanged(input);
  display.close();
  display.say(`\n${formatReport(outcome)}`);
}

/** The result, unless the signal comes first: then its reason is thrown. */
async function orAborted<T>(signal: AbortSignal, result: Promise<T>): Promise<T> {
  const aborted = new Promise<never>((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    else signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  return Promise.race([result, aborted]);
}

function describeCluster(cluster: Cluster, folder: string): string {
  const [first] = cluster.nodes;
  return [
    "\nThe nodes run until Ctrl-C:",
    ...cluster.nodes.map((node) => `  ${node.name}  process ${node.pid}  ${node.addresses.join(" ")}`),
    `Their data stays in ${folder}.`,
    "Attach a node of your own, and ask it, in another terminal:",
    `  npx coppice start --data ./my-node --peer ${first?.addresses[0]}`,
    "  npx coppice groups --data ./my-node",
    "  npx coppice get cluster/starts --data ./my-node",
  ].join("\n");
}
