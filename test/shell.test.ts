import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { lstat, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { COMMAND, Daemon, coppice, temporaryDirectory, until } from "./daemon.test-support.ts";

const FULL = "/dev/full";

/** Runs a line of shell, in which `$COPPICE` is the command. */
async function shell(line: string, env: NodeJS.ProcessEnv): Promise<{ status: number; out: string; err: string }> {
  const COPPICE = `${process.execPath} ${COMMAND}`;
  const all = { ...process.env, COPPICE, ...env };
  try {
    const { stdout, stderr } = await promisify(execFile)("bash", ["-o", "pipefail", "-c", line], { env: all });
    return { status: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, out: stdout, err: stderr };
  }
}

describe("an export", () => {
  test("goes through pipes, and into files under whatever name", async () => {
    const data = await temporaryDirectory();
    const daemon = await Daemon.start(data);
    await coppice(["add", "n", "3", "--data", data]);
    const [copy, another] = [await temporaryDirectory(), await temporaryDirectory()];
    const piped = await shell('$COPPICE export - --data "$A" | $COPPICE import - --data "$B"', { A: data, B: copy });
    expect(piped).toMatchObject({
      status: 0,
      out: "1 group: 1 imported, 0 replaced, 0 present, 0 skipped, 0 deleted\n",
    });
    expect(piped.err).toMatch(/^-: 1 group, /);

    const pipe = join(data, "pipe");
    const through =
      'mkfifo "$PIPE" && { $COPPICE import "$PIPE" --data "$B" & } && $COPPICE backup "$PIPE" --data "$A"';
    expect(await shell(`${through} && wait`, { A: data, B: another, PIPE: pipe })).toMatchObject({ status: 0 });
    expect((await lstat(pipe)).isFIFO()).toBe(true);

    const [real, link] = [join(data, "monday.coppice"), join(data, "latest.coppice")];
    await writeFile(real, "an older one");
    await symlink(real, link);
    expect(await coppice(["export", link, "--data", data])).toMatchObject({ status: 0 });
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
    expect((await readFile(real)).length).toBeGreaterThan(50);

    expect(await coppice(["export", data, "--data", data])).toMatchObject({
      status: 2,
      err: expect.stringContaining("is a directory: name a file in it") as string,
    });
    await daemon.stop();
    for (const directory of [copy, another]) {
      expect(await coppice(["check", "--data", directory])).toMatchObject({ out: expect.stringMatching(/^1 group,/) });
    }
  });
});

describe.skipIf(!existsSync(FULL))("output to a full disk", () => {
  test("ends a command with a line that says so", async () => {
    const { status, err } = await shell(`$COPPICE completion bash >${FULL}`, {});
    expect(status).toBe(8);
    expect(err).toMatch(/^error: the output cannot be written: ENOSPC: .* \(ENOSPC\)\n$/);
  });

  test("does not end a node, whose log it is", async () => {
    const data = await temporaryDirectory();
    const line = `exec ${process.execPath} ${COMMAND} start --data "$A" --http 127.0.0.1:0 >${FULL} 2>&1`;
    const child = spawn("bash", ["-c", line], { env: { ...process.env, A: data }, stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    await until(async () => (await coppice(["add", "n", "--data", data])).status === 0);
    const ended = new Promise((resolve) => child.on("exit", resolve));
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });
});

test("what is wrong with the use of a command is JSON, too, where that was asked for", async () => {
  for (const args of [["frobnicate"], ["groups", "--sort", "size"], ["get"], ["watch", "--nope"]]) {
    const { status, out, err } = await coppice([...args, "--json"]);
    expect({ status, out }).toEqual({ status: 2, out: "" });
    expect(JSON.parse(err)).toEqual({ error: { code: "INVALID_OPTIONS", message: expect.any(String) as string } });
  }
});
