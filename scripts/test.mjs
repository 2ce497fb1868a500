// `npm test`: the static checks, then every test. Arguments go to vitest, for example a file name or `-t name`.
// The last line is the total over checks and tests: `N passed, N failed`, with `, N skipped` when there are any.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runChecks, root } from "./checks.mjs";
import { countResults } from "./count-results.mjs";

console.log("Checks");
const checks = await runChecks();

console.log("\nTests");
const folder = mkdtempSync(join(tmpdir(), "coppice-test-"));
let tests;
try {
  const report = join(folder, "report.json");
  const args = [
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ];
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const { status } = spawnSync(process.execPath, [vitest, ...args], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  tests = countResults(existsSync(report) ? JSON.parse(readFileSync(report, "utf8")) : undefined, status);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const passed = checks.passed.length + tests.passed;
const failed = checks.failed.length + tests.failed;
console.log();
for (const name of checks.failed) console.log(`failed check: ${name}`);
for (const name of tests.failures) console.log(`failed: ${name}`);
console.log(`${passed} passed, ${failed} failed${tests.skipped > 0 ? `, ${tests.skipped} skipped` : ""}`);
process.exitCode = failed === 0 ? 0 : 1;
