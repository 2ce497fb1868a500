/**
 * A node that knows very many groups: what each costs in memory, how soon the node serves, and what it takes to reconcile
 * with another that differs in few of them.
 *
 * Run: `node bench/dist/scale.js [--groups N] [--json FILE]`; 100 000 groups by default.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { formatTable } from "./replication/figure.ts";
import { manyGroups } from "./replication/many-groups.ts";

const { values } = parseArgs({ options: { json: { type: "string" }, groups: { type: "string", default: "100000" } } });
const groups = Number(values.groups);
if (!Number.isSafeInteger(groups) || groups < 256) throw new TypeError("--groups must be a whole number from 256 on");
const figures = await manyGroups(groups);
console.log(formatTable(figures));
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(figures, undefined, 2)}\n`);
