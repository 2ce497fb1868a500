// Plants one small bug at a time into a copy of the sources, and runs the tests on it: each must be caught.
//
//   node packages/crdt/scripts/planted-bugs.mjs [--places] [part of a name]
//
// With --places it only looks whether the code still has the place of each bug.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const home = fileURLToPath(new URL("..", import.meta.url));
const copy = join(home, ".tsbuild", `planted-${process.pid}`);

/** Tests that are about the kernel. */
const TESTS = ["kernel/collect", "spine", "nesting", "types", "exhaustive", "value"];

/** Each replaces the first place of `from` in `file` by `to`; caught by those `tests`, if it is not about the kernel. */
const BUGS = [
  {
    name: "concurrent writes that lose are dropped",
    file: "kernel/register.ts",
    from: "register.assign(top.actor, top, top.value, more);",
    to: "register.assign(top.actor, top, top.value, undefined);",
  },
  {
    name: "the winner of two writes ignores the time",
    file: "kernel/register.ts",
    from: "if (a.time !== b.time) return a.time > b.time;",
    to: "",
  },
  {
    name: "a write does not name what it overwrites",
    file: "kernel/register.ts",
    from: "(dot) => dot.actor !== own",
    to: "() => false",
  },
  {
    name: "a write overwrites what it has not seen",
    file: "kernel/register.ts",
    from: "return index < 0 || live.seq > (seqs[index] as number);",
    to: "return false;",
  },
  {
    name: "a rollback leaves a new register",
    file: "kernel/register.ts",
    from: "transaction.onRollback(detach, map, key, register);",
    to: "",
  },
  {
    name: "bytes and dates are handed out",
    file: "kernel/register.ts",
    from: "value !== null && isMutable(value)",
    to: "false",
  },
  {
    name: "a removal spares the last dot it saw",
    file: "kernel/removal.ts",
    from: "dot.seq > (vector.get(dot.actor) ?? 0)",
    to: "dot.seq >= (vector.get(dot.actor) ?? 0)",
  },
  {
    name: "a removal takes concurrent writes too",
    file: "kernel/removal.ts",
    from: "dot.seq > (vector.get(dot.actor) ?? 0)",
    to: "!vector.has(dot.actor)",
  },
  {
    name: "a removal cancels all of a run",
    file: "kernel/removal.ts",
    from: "cancelRow(row, start, last, total,",
    to: "cancelRow(row, start, row.last, row.total,",
  },
  {
    name: "clear forgets counters",
    file: "kernel/removal.ts",
    from: "if (observe(first, vector)) cancels.push([key, observeRows(first)]);",
    to: "observe(first, vector);",
  },
  {
    name: "a cancelled row is forgotten at once",
    file: "kernel/removal.ts",
    from: "if (store.rows.length === 0) return undefined;",
    to: "return undefined;",
  },
  {
    name: "a removal ignores which run it saw",
    file: "kernel/counter.ts",
    from: "row.start !== start || last <= row.cancelled",
    to: "last <= row.cancelled",
  },
  {
    name: "a late removal takes back an earlier one",
    file: "kernel/counter.ts",
    from: "row.start !== start || last <= row.cancelled",
    to: "row.start !== start",
  },
  {
    name: "a new run keeps the old total",
    file: "kernel/counter.ts",
    from: "else restart(row, seq, amount);",
    to: "else restart(row, seq, row.total + amount);",
  },
  { name: "a collected row comes back whole", file: "kernel/counter.ts", from: "row.baseline = before;", to: "" },
  {
    name: "garbage goes before all know",
    file: "kernel/collect.ts",
    from: "stable.covers(actors.name(row.remover), row.removerSeq)",
    to: "true",
  },
  {
    name: "a join brings back what they removed",
    file: "kernel/join.ts",
    from: "dot.seq > (this.#theirs[dot.actor] as number) ||",
    to: "true ||",
  },
  {
    name: "a join brings back what we removed",
    file: "kernel/join.ts",
    from: "dot.seq > (this.#ours[dot.actor] as number) && ",
    to: "",
  },
  {
    name: "a join keeps the earlier run",
    file: "kernel/join.ts",
    from: "if (ours.start > theirs.start) return ours;",
    to: "if (ours.start < theirs.start) return ours;",
  },
  {
    name: "a join takes one side's cancellations",
    file: "kernel/join.ts",
    from: "theirs.cancelled > ours.cancelled ? theirs : ours",
    to: "ours",
  },
  {
    name: "a smaller state leaves out one too many",
    file: "kernel/state-codec.ts",
    from: "(this.#known[actor] ?? 0) >= seq",
    to: "(this.#known[actor] ?? 0) >= seq - 1",
  },
  {
    name: "the table of actors outlives its delta",
    file: "kernel/open-delta.ts",
    from: "this.#actors?.trim(0);",
    to: "",
  },
  {
    name: "the shorthand for a map is taken too often",
    file: "kernel/open-delta.ts",
    from: "this.#lastMap === map && ",
    to: "",
  },
  {
    name: "canonical bytes follow the order of arrival",
    file: "kernel/canonical.ts",
    from: "alive.sort(",
    to: "[...alive].sort(",
  },
  {
    name: "a log keeps the order of arrival",
    file: "kernel/log.ts",
    from: "last === undefined || isBefore(actors, last, entry)",
    to: "true",
  },
  { name: "__proto__ sets a prototype", file: "value.ts", from: 'if (key === "__proto__") {', to: "if (false) {" },
  {
    name: "dvv: a gap counts as known",
    tests: ["dotted-version-vector"],
    file: "dotted-version-vector.ts",
    from: " || (seq > 1 && !this.#past.covers(actor, seq - 1))",
    to: "",
  },
  {
    name: "dvv: a new write is numbered by its context alone",
    tests: ["dotted-version-vector"],
    file: "dotted-version-vector.ts",
    from: "Math.max(context.get(actor), DottedVersionVector.context(known).get(actor)) + 1",
    to: "context.get(actor) + 1",
  },
  {
    name: "dvv: sync keeps what is followed",
    tests: ["dotted-version-vector"],
    file: "dotted-version-vector.ts",
    from: "if (clock.covers(actor, seq)) remaining.splice(index, 1);",
    to: "",
  },
  {
    name: "schema: a stamp is only the last one's",
    tests: ["schema-map"],
    file: "schema-map.ts",
    from: "writableFrom = Math.max(writableFrom, stamp[1])",
    to: "writableFrom = stamp[1]",
  },
  {
    name: "schema: the stamp is written in every event",
    tests: ["schema-map"],
    file: "schema-map.ts",
    from: "if (found.version >= own.version && found.writableFrom >= own.writableFrom) return;",
    to: "",
  },
  {
    name: "schema: a migration sees unwritten fields as written",
    tests: ["schema-map"],
    file: "schema-map.ts",
    from: "return child !== undefined && isAlive(child);",
    to: "return true;",
  },
  {
    name: "schema: an issue is passed over",
    tests: ["schema-map"],
    file: "standard-schema.ts",
    from: "if (result.issues === undefined) return result.value;",
    to: "return result.value;",
  },
  {
    name: "schema: what was given is stored, not what comes out",
    tests: ["schema-map"],
    file: "validated-register.ts",
    from: "this.#register.set(validate(this.#schema, value))",
    to: "(validate(this.#schema, value), this.#register.set(value))",
  },
  {
    name: "schema: older writers are let in",
    tests: ["schema-map"],
    file: "schema-map.ts",
    from: "found.writableFrom > own.version",
    to: "found.version < 0",
  },
  {
    name: "tree: a node under a removed one is lost",
    tests: ["tree"],
    file: "tree.ts",
    from: "(parent === id || !all.has(parent))",
    to: "parent === id",
  },
  {
    name: "tree: placements count in the order of ids",
    tests: ["tree"],
    file: "tree.ts",
    from: "a.time - b.time || a.rank - b.rank || ",
    to: "",
  },
  {
    name: "tree: no way back to where it came from",
    tests: ["tree"],
    file: "tree.ts",
    from: "[parent, from].find(",
    to: "[parent].find(",
  },
  {
    name: "tree: nodes of one event have no order",
    tests: ["tree"],
    file: "tree.ts",
    from: "left.time - right.time || left.position - right.position ||",
    to: "left.time - right.time ||",
  },
  {
    name: "position: without chance",
    tests: ["tree"],
    file: "kernel/position.ts",
    from: "  position += saltDigits(salt);",
    to: "",
  },
  {
    name: "position: above the next",
    tests: ["tree"],
    file: "kernel/position.ts",
    from: "while (next.startsWith(position)) position = midpoint(position, next);",
    to: "",
  },
  {
    name: "position: the count has no length before it",
    tests: ["tree"],
    file: "kernel/position.ts",
    from: '(DIGITS[count.length] ?? "") + count',
    to: "count",
  },
  {
    name: "plain data: absent fields are written",
    tests: ["plain-data"],
    file: "plain-data.ts",
    from: "if (data === undefined) return;",
    to: "",
  },
  {
    name: "yjs: a whole state is passed over",
    tests: ["document-sync"],
    file: "yjs.ts",
    from: "applyUpdates(state, [readBody(body)], touched)",
    to: "void [state, body, touched]",
  },
  {
    name: "yjs: what an editor did first is lost",
    tests: ["document-history"],
    file: "yjs.ts",
    from: "state.outbox.splice(0)",
    to: "state.outbox.splice(1)",
  },
  {
    name: "automerge: only the first change of an event arrives",
    tests: ["document-format"],
    file: "automerge.ts",
    from: "while (reader.left > 0) changes.push(",
    to: "if (reader.left > 0) changes.push(",
  },
];

function sourceOf(bug) {
  const source = readFileSync(join(home, "src", bug.file), "utf8");
  if (!source.includes(bug.from)) throw new Error(`${bug.name}: ${bug.file} has no ${JSON.stringify(bug.from)}`);
  return source;
}

function run(bug) {
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  cpSync(join(home, "src"), join(copy, "src"), { recursive: true });
  const tests = (bug === undefined ? planted : [bug]).flatMap((each) => each.tests ?? TESTS);
  const include = JSON.stringify([...new Set(tests)].map((name) => `src/${name}.test.ts`));
  writeFileSync(
    join(copy, "vitest.config.mjs"),
    `export default { test: { include: ${include}, bail: 1, testTimeout: 600_000 } };\n`,
  );
  if (bug !== undefined) {
    const source = sourceOf(bug);
    writeFileSync(
      join(copy, "src", bug.file),
      source.replace(bug.from, () => bug.to),
    );
  }
  const result = spawnSync("npx", ["vitest", "run", "--root", copy], {
    cwd: home,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  return { passed: result.status === 0, output: result.stdout + result.stderr };
}

const args = process.argv.slice(2);
const wanted = args.find((arg) => arg !== "--places") ?? "";
const planted = BUGS.filter(({ name }) => name.includes(wanted));
if (planted.length === 0) {
  process.stdout.write(`No planted bug has ${JSON.stringify(wanted)} in its name.\n`);
  process.exit(1);
}
if (args.includes("--places")) {
  planted.forEach(sourceOf);
  process.stdout.write(`${planted.length} places found\n`);
  process.exit(0);
}
const sound = run(undefined);
if (!sound.passed) {
  process.stdout.write(`${sound.output}\nThe tests fail without any bug.\n`);
  process.exit(1);
}
let missed = 0;
for (const bug of planted) {
  const { passed, output } = run(bug);
  // Only a law or an assertion that fails proves something: no broken build, and no test that ran out of time.
  const broken =
    !passed && (!/AssertionError|Error: /.test(output) || /timed out|Transform failed|SyntaxError/.test(output));
  if (passed || broken) missed++;
  process.stdout.write(`${passed ? "MISSED" : broken ? "BROKEN" : "caught"}  ${bug.name}\n`);
}
rmSync(copy, { recursive: true, force: true });
process.stdout.write(`${planted.length - missed} of ${planted.length} planted bugs caught\n`);
process.exit(missed === 0 ? 0 : 1);
