/**
 * Runs benchmarks by name, each in a process of its own: `npm run bench -- [name…] [--json FILE] [--traces PATH]`.
 *
 * Without a name it runs `replication`, which holds what a node does against its raw limits; `--json` writes its
 * figures to a file. The others look at one package each.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const BENCHMARKS: ReadonlyMap<string, string> = new Map([
  ["replication", "nodes and replicas, beside raw limits: about two minutes"],
  ["scale", "a node that knows 100 000 groups: a minute or two"],
  ["peers", "nodes beside automerge-repo and Hocuspocus: two or three minutes"],
  ["traces", "editing histories beside plain Yjs and Automerge, needs --traces PATH: a minute or two"],
  ["crdt", "the types alone, beside Yjs: ten seconds"],
  ["storage", "the group store beside the raw engine: some minutes"],
  ["transport", "frames over libp2p beside raw libp2p and TCP: half a minute"],
  ["http", "the HTTP server of a daemon beside bare node:http: a minute"],
]);

const HAVE_FIGURES: ReadonlySet<string> = new Set(["replication", "scale", "peers", "traces"]);

async function run(name: string, args: readonly string[]): Promise<number> {
  console.log(`${name}: ${BENCHMARKS.get(name)}\n`);
  const file = fileURLToPath(new URL(`${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], { stdio: "inherit" });
  const [status] = (await once(child, "exit")) as [number | null];
  console.log();
  return status ?? 1;
}

/** The command line; an error in it is told in one line. */
function commandLine(): {
  values: { json?: string; traces?: string; all?: boolean; help?: boolean };
  positionals: string[];
} {
  try {
    const options = {
      json: { type: "string" },
      traces: { type: "string" },
      all: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    } as const;
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  }
}

const { values, positionals } = commandLine();
if (values.help) {
  console.log("npm run bench -- [name…] [--all] [--json FILE] [--traces PATH]\n");
  for (const [name, what] of BENCHMARKS) console.log(`  ${name.padEnd(12)} ${what}`);
  process.exit();
}
const all = [...BENCHMARKS.keys()].filter((name) => name !== "traces" || values.traces !== undefined);
const names = values.all ? all : positionals.length > 0 ? positionals : ["replication"];
const unknown = names.filter((name) => !BENCHMARKS.has(name));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(", ")}; there are ${[...BENCHMARKS.keys()].join(", ")}, and --all`);
  process.exitCode = 2;
} else {
  for (const name of names) {
    const args = [
      ...(HAVE_FIGURES.has(name) && values.json !== undefined ? ["--json", values.json] : []),
      ...(name === "traces" && values.traces !== undefined ? ["--traces", values.traces] : []),
    ];
    if ((await run(name, args)) !== 0) process.exitCode = 1;
  }
}
