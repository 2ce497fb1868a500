import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { type Figure, formatTable } from "./figure.ts";

/** Runs the sections that the command line names, or all, and prints their figures; `--json FILE` writes them, too. */
export async function runSections(sections: ReadonlyMap<string, () => Promise<Figure[]>>): Promise<void> {
  const { values, positionals } = parseArgs({ options: { json: { type: "string" } }, allowPositionals: true });
  const names = positionals.length > 0 ? positionals : [...sections.keys()];
  const figures: Figure[] = [];
  for (const name of names) {
    const section = sections.get(name);
    if (section === undefined) throw new TypeError(`no section ${name}: there are ${[...sections.keys()].join(", ")}`);
    const startMs = performance.now();
    figures.push(...(await section()));
    console.error(`${name}: measured in ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
  }
  console.log(`\n${formatTable(figures)}`);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures, undefined, 2)}\n`);
}
