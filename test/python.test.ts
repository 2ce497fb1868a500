import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { Daemon, temporaryDirectory } from "./daemon.test-support.ts";

const run = promisify(execFile);
const example = fileURLToPath(new URL("../examples/python", import.meta.url));

function hasPython(): boolean {
  try {
    execFileSync("python3", ["-c", "import sys; sys.exit(sys.version_info < (3, 9))"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

test.runIf(hasPython())("the Python example counts, follows and changes", async () => {
  const data = await temporaryDirectory();
  await Daemon.start(data, "--views", join(example, "views.mjs"));
  const { stdout } = await run("python3", [join(example, "main.py"), data], { timeout: 30_000 });
  const [first, last, ...rest] = stdout.trimEnd().split("\n");
  expect(first).toBe("visits: 10");
  expect(last).toMatch(/^visits: 15, digest [0-9a-f]{16}$/);
  expect(rest).toEqual([
    "words: {'hello': 2}",
    "groups: python/visits, python/words",
    "events, by a view: [7, 0]",
    "with the token for reading: FORBIDDEN",
  ]);
  const elsewhere = run("python3", [join(example, "main.py"), join(data, "none")]);
  await expect(elsewhere).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^error: no node runs on .*; start it: coppice start --data .*\n$/) as string,
  });
});
