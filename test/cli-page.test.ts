import { spawn } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { COMMAND, Daemon, type Result, coppice, temporaryDirectory } from "./daemon.test-support.ts";

const page = fileURLToPath(new URL("../docs/cli.md", import.meta.url));

interface Example {
  readonly command: string;
  /** What is printed; `…` stands for anything. */
  readonly answer: string;
  /** Whether it is meant to fail. */
  readonly fails: boolean;
}

function examples(text: string): Example[] {
  const blocks = [...text.matchAll(/```console\n(.*?)```/gs)].map(([, block = ""]) => block);
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part): Example => {
        const [command = "", ...lines] = part.split("\n");
        const answer = lines.filter((line) => !line.startsWith("!")).join("\n");
        return { command, answer, fails: lines.some((line) => line.startsWith("!")) };
      }),
  );
}

/** Columns are as wide as what stands in them, which differs. */
function narrowed(text: string): string {
  return text.replaceAll(/ +/g, " ");
}

function pattern(answer: string): RegExp {
  const escaped = narrowed(answer).replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll("…", "[^]*")}$`);
}

/** A directory with a command `coppice`, as an installation would put it on the path. */
async function installed(): Promise<string> {
  const bin = join(await temporaryDirectory(), "bin");
  await mkdir(bin);
  await writeFile(join(bin, "coppice"), `#!/bin/sh\nexec "${process.execPath}" "${COMMAND}" "$@"\n`);
  await chmod(join(bin, "coppice"), 0o755);
  return bin;
}

function shell(command: string, env: NodeJS.ProcessEnv): Promise<Result> {
  const child = spawn("/bin/sh", ["-c", command], { env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, out, err })));
}

test("every example of docs/cli.md gives the answer that stands there", { timeout: 240_000 }, async () => {
  const data = await temporaryDirectory();
  await Daemon.start(data);
  const bin = await installed();
  const env = { ...process.env, COPPICE_DATA: data, PATH: `${bin}${delimiter}${process.env["PATH"]}` };
  const text = await readFile(page, "utf8");
  for (const [, name = "", json = ""] of text.matchAll(/`(\w+\.json)`:\n\n```json\n(.*?)```/gs)) {
    await writeFile(join(data, name), json);
  }
  const list = examples(text);
  expect(list.length).toBeGreaterThan(30);
  for (const { command, answer, fails } of list) {
    const result = await shell(command, env);
    expect({ command, ...result, failed: result.status !== 0 }).toMatchObject({ command, failed: fails });
    expect(narrowed(result.out)).toMatch(pattern(answer));
  }
});

test("docs/cli.md has an example of every command, and every option of start", async () => {
  const text = await readFile(page, "utf8");
  const { out } = await coppice(["--help"]);
  const commands = [...out.matchAll(/^ {2}([a-z]+)[ |]/gm)]
    .map(([, name = ""]) => name)
    .filter((name) => name !== "help");
  expect(commands).toContain("start");
  for (const command of commands) expect(text).toMatch(new RegExp(String.raw`^(\$ )?coppice ${command}`, "m"));
  const start = await coppice(["start", "--help"]);
  const options = [...start.out.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, name = ""]) => name);
  expect(options.length).toBeGreaterThan(10);
  for (const option of options) expect(text).toContain(option);
});
