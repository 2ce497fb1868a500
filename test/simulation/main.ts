import { parseArgs } from "node:util";
import { FAULT_KINDS, type FaultKind, drawPlan } from "./plan.ts";
import { World } from "./world.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    from: { type: "string", default: "1" },
    nodes: { type: "string" },
    kinds: { type: "string" },
    keep: { type: "string" },
    stop: { type: "string", default: "10" },
    trace: { type: "boolean", default: false },
  },
});
const nodes = values.nodes === undefined ? undefined : Number(values.nodes);
const kinds = values.kinds?.split(",").filter((kind): kind is FaultKind => FAULT_KINDS.includes(kind as FaultKind));
const keep = values.keep === undefined ? undefined : new Set(values.keep.split(",").map(Number));
const from = Number(values.from);
const startedAt = performance.now();
let done = 0;
let violations = 0;
let longest = 0;
for (let seed = from; seed < from + Number(values.seeds); seed++) {
  const drawn = drawPlan(seed, { nodes, kinds });
  const plan = keep === undefined ? drawn : { ...drawn, faults: drawn.faults.filter((_, index) => keep.has(index)) };
  const outcome = await new World(plan, { trace: values.trace }).run();
  done++;
  longest = Math.max(longest, outcome.healingMs);
  if (values.trace) console.log(outcome.lines.join("\n"));
  if (outcome.violation !== undefined) {
    violations++;
    if (violations > Number(values.stop)) break;
    console.log(
      `seed ${seed}: ${outcome.violation.oracle}: ${outcome.violation.message.replaceAll("\n", " | ").slice(0, 500)}`,
    );
  }
}
const seconds = (performance.now() - startedAt) / 1000;
console.log(
  `${done} seeds, ${violations} violations, ${(done / seconds).toFixed(1)} seeds/s, longest healing ${longest.toFixed(0)} ms`,
);
