import { execFile } from "node:child_process";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const newer = process.env["COPPICE_NEWER_NODE"];

// `.ci/run` sets COPPICE_NEWER_NODE when it could get one; a Node.js that has node:sqlite runs these tests anyway.
it.skipIf(newer === undefined || newer === "" || isBuiltin("node:sqlite"))(
  "a newer Node.js passes the tests of the SQLite backend",
  async () => {
    const files = ["sqlite/sqlite", "backends", "directories", "full-disk", "kill"].map(
      (name) => `packages/storage/src/${name}.test.ts`,
    );
    const args = [join(root, "node_modules", "vitest", "vitest.mjs"), "run", "--maxWorkers=1", "--no-color", ...files];
    const env = { ...process.env, KILL_ROUNDS: "3" };
    const { stdout } = await promisify(execFile)(newer ?? "", [...args, "-t", "sqlite|SQLite"], { cwd: root, env });
    const passed = Number(/Tests\s+(\d+) passed/.exec(stdout)?.[1]);
    expect(passed).toBeGreaterThan(60);
  },
  240_000,
);
