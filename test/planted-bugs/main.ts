// `pnpm planted-bugs`: each fault of the list must be noticed by the simulation within its budget of seeds.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { PLANTED_BUGS, type PlantedBug } from "./bugs.ts";
import type { Catch } from "./planted.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "300" },
    only: { type: "string", default: "" },
  },
});

function tryBug(bug: PlantedBug, seedsMax: number): Promise<Catch> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL("planted.js", import.meta.url)), {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    let caught: Catch | undefined;
    child.on("message", (message: Catch) => (caught = message));
    child.on("exit", (code) => {
      if (caught !== undefined) resolve(caught);
      else reject(new Error(`planted bug "${bug.name}": its process ended with ${String(code)}`));
    });
    child.send({ bug, seedsMax });
  });
}

const bugs = PLANTED_BUGS.filter(({ name }) => name.includes(values.only));
let missed = 0;
console.log("| planted bug | file | noticed by | at seed |");
console.log("| --- | --- | --- | --- |");
for (const bug of bugs) {
  const { seeds, oracle } = await tryBug(bug, Number(values.seeds)).catch((error: unknown) => {
    console.error(error);
    return { seeds: 0, oracle: undefined };
  });
  if (oracle === undefined) missed++;
  console.log(
    `| ${bug.name} | \`${bug.file}\` | ${oracle ?? "**nothing**"} | ${oracle === undefined ? `${seeds} without` : seeds} |`,
  );
}
console.log(`\n${bugs.length - missed} of ${bugs.length} planted bugs noticed`);
if (missed > 0) process.exitCode = 1;
