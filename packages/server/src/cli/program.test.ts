import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gCounter } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { levelStorage } from "@coppice/storage/level";
import { expect, onTestFinished, test } from "vitest";
import { exportDirectory } from "../daemon/offline.ts";
import { run } from "./program.ts";

async function output(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  return await outputTo(() => undefined, ...args);
}

async function outputTo(onOut: () => void, ...args: string[]): Promise<{ status: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const streams = {
    out: (text: string) => {
      out += text;
      onOut();
    },
    err: (text: string) => (err += text),
    isTerminal: false,
    isErrTerminal: false,
  };
  return { status: await run(args, streams), out, err };
}

test("every command helps, with an example", async () => {
  const help = await output("--help");
  const commands = [...help.out.matchAll(/^ {2}([a-z-]+)[ |]/gm)].map(([, name = ""]) => name);
  expect(commands.length).toBeGreaterThan(20);
  for (const command of commands.filter((name) => name !== "help")) {
    const { status, out } = await output(command, "--help");
    expect({ command, status, out }).toEqual({
      command,
      status: 0,
      out: expect.stringMatching(/Examples?[:,]/) as string,
    });
  }
});

test.each([
  [["gropus"], "Did you mean groups?"],
  [["groups", "--sort", "size"], "Allowed choices are id"],
  [["groups", "--watch", "0"], "number of seconds"],
  [["bench", "--seconds", "1000"], "number of seconds from 0.1 to 60"],
  [["get", "a//b"], "not a group id"],
  [
    ["restore", "x", "--data", "y", "--at", "yesterday"],
    "such as 2026-01-31T12:00:00Z, or so long ago: -90m, -1h, -2d",
  ],
  [["restore", "x", "--data", "y", "--at", "2026-01-31 12:00"], "a time with its zone"],
])("refuses %j", async (args, message) => {
  expect(await output(...args)).toMatchObject({ status: 2, err: expect.stringContaining(message) as string });
});

/** A backup of three groups, each with `count` events. */
async function backup(directory: string, count: number): Promise<string> {
  const data = join(directory, `node-${count}`);
  const node = await createNode({ types: [gCounter], storage: levelStorage(data) });
  for (const id of ["a", "b", "c"]) {
    const group = await node.open(["n", id], gCounter);
    for (let index = 0; index < count; index++) await group.mutate((counter) => counter.increment(1));
  }
  await node.close();
  const file = join(directory, `${count}.coppice`);
  await writeFile(file, exportDirectory(data, { history: true }));
  return file;
}

test("an interrupt ends a dry run of a restore", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-program-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const args = ["restore", await backup(directory, 1), "--dry-run", "--json", "--data", join(directory, "back")];
  expect((await output(...args)).out.trimEnd().split("\n")).toHaveLength(3);
  const { status, out } = await outputTo(() => process.emit("SIGINT"), ...args);
  expect({ status, lines: out.trimEnd().split("\n").length }).toEqual({ status: 130, lines: 1 });
});

test("an import says how to go on where a group is there with other content, and does it", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-program-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const [older, newer] = [await backup(directory, 1), await backup(directory, 2)];
  const data = ["--data", join(directory, "into")];
  expect(await output("import", older, ...data)).toMatchObject({ status: 0 });
  expect(await output("import", newer, ...data)).toMatchObject({
    status: 6,
    err: expect.stringContaining("n/a is stored already, with other content: overwrite groups") as string,
  });
  expect(await output("import", newer, "--skip-existing", ...data)).toMatchObject({
    out: "3 groups: 0 imported, 0 replaced, 0 present, 3 skipped, 0 deleted\n",
  });
  expect(await output("import", newer, "--overwrite", ...data)).toMatchObject({
    out: "3 groups: 0 imported, 3 replaced, 0 present, 0 skipped, 0 deleted\n",
  });
});
