/**
 * What a node does, beside the raw limit of each: local writes, remote applies, propagation between two processes,
 * catching up, and memory. Every figure is a median of several rounds in which the subjects take turns, and says what
 * it measures.
 *
 * Run: `node bench/dist/replication.js [--json FILE] [section…]`; the sections are those below, all by default.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { lateJoiner, reconnection } from "./replication/catching-up.ts";
import { type Figure, formatTable } from "./replication/figure.ts";
import { localWrites } from "./replication/local-writes.ts";
import { manyGroups } from "./replication/many-groups.ts";
import { memory } from "./replication/memory.ts";
import { propagation } from "./replication/propagation.ts";
import { remoteApply } from "./replication/remote-apply.ts";

/** `scale.ts` measures ten times as many. */
const MANY_GROUPS = 10_000;

const SECTIONS: ReadonlyMap<string, () => Promise<Figure[]>> = new Map([
  // First: what the others leave behind would be counted.
  ["memory", memory],
  ["local-writes", localWrites],
  ["remote-apply", remoteApply],
  ["propagation", propagation],
  ["reconnection", reconnection],
  ["late-joiner", lateJoiner],
  ["many-groups", () => manyGroups(MANY_GROUPS)],
]);

const { values, positionals } = parseArgs({ options: { json: { type: "string" } }, allowPositionals: true });
const names = positionals.length > 0 ? positionals : [...SECTIONS.keys()];
const figures: Figure[] = [];
for (const name of names) {
  const section = SECTIONS.get(name);
  if (section === undefined) throw new TypeError(`no section ${name}: there are ${[...SECTIONS.keys()].join(", ")}`);
  const startMs = performance.now();
  figures.push(...(await section()));
  console.error(`${name}: measured in ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
}
console.log(`\n${formatTable(figures)}`);
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures, undefined, 2)}\n`);
