/**
 * Editing histories replayed, keystroke by keystroke, into documents of a replica beside plain Yjs and Automerge, which
 * are told of their updates as whoever sends them is. A history is gzipped JSON as in `josephg/editing-traces`:
 * `{ startContent, endContent, txns: [{ patches: [[position, deleted, inserted], …] }] }`, of ASCII.
 *
 * Run: `node bench/dist/traces.js --traces PATH [--json FILE]`; the path is that of a file or of a folder of files.
 */
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { type Figure, formatTable } from "./replication/figure.ts";
import { type Trace, traceFigures } from "./traces/replay.ts";

const SUFFIX = ".json.gz";

async function filesOf(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = await readdir(path);
  return names.filter((name) => name.endsWith(SUFFIX)).map((name) => join(path, name));
}

const { values } = parseArgs({ options: { json: { type: "string" }, traces: { type: "string" } } });
if (values.traces === undefined) {
  console.error("traces needs --traces PATH: a history of josephg/editing-traces, or a folder of them");
  process.exit(2);
}
const figures: Figure[] = [];
for (const file of await filesOf(values.traces)) {
  const trace = JSON.parse(gunzipSync(await readFile(file)).toString()) as Trace;
  const startMs = performance.now();
  figures.push(...(await traceFigures(basename(file, SUFFIX), trace)));
  console.error(`${file}: replayed in ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
}
console.log(`\n${formatTable(figures)}`);
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures, undefined, 2)}\n`);
