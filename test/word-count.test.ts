import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const dist = new URL("../examples/word-count/dist/", import.meta.url);
const program = fileURLToPath(new URL("main.js", dist));

let folder: string;
/** Where the program keeps the data of its nodes. */
let scratch: string;
let input: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coppice-word-count-test-"));
  scratch = join(folder, "scratch");
  await mkdir(scratch);
  input = join(folder, "input.txt");
  const verse = "The fox, the hen and the fox's den: nine wise voles quote zebras.\n";
  await writeFile(input, verse.repeat(400));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ALL_RUN = /(?:node-\d runs: .*\n[^]*){3}/;

interface Run {
  readonly process: ChildProcess;
  readonly ended: Promise<{ status: number | null; output: string }>;
  /** Resolves when the output so far matches. */
  until(pattern: RegExp): Promise<string>;
}

function start(args: readonly string[]): Run {
  const child = spawn(process.execPath, args, { env: { ...process.env, TMPDIR: scratch } });
  let output = "";
  const take = (text: Buffer): void => {
    output += text.toString();
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const closed = once(child, "close");
  return {
    process: child,
    ended: closed.then(() => ({ status: child.exitCode, output })),
    until: async (pattern) => {
      while (!pattern.test(output)) {
        const [chunk] = await Promise.race([once(child.stdout, "data"), closed]);
        if (!Buffer.isBuffer(chunk)) throw new Error(`the program ended before ${pattern}:\n${output}`);
      }
      return output;
    },
  };
}

async function emptyScratch(): Promise<void> {
  await rm(scratch, { recursive: true });
  await mkdir(scratch);
}

/** The processes that the program says its nodes run in. */
function nodeProcesses(output: string): number[] {
  return [...output.matchAll(/ runs: process (\d+)/g)].map(([, id]) => Number(id));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("the word-count program", { timeout: 120_000 }, () => {
  test("counts through a kill, agrees with a sequential count, and keeps its nodes with --keep", async () => {
    const run = start([program, "--input", input, "--keep"]);
    const output = await run.until(/The nodes run until Ctrl-C[^]*npx coppice get/);
    expect(output).toMatch(/killed node-2 \(SIGKILL\): it had acknowledged \d+ of its 200 chunks/);
    expect(output).toMatch(/node-2 is back: recovered 30 groups with \d+ events/);
    expect(output).toMatch(/^ {2}the +1,200$/m);
    expect(output).toMatch(/^words in total +5,200$/m);
    expect(output).toMatch(/^different words +11$/m);
    expect(output).toMatch(/^sequential count +agrees exactly/m);
    expect(output).toMatch(/^node starts +4$/m);
    expect(output).toMatch(/^digests +equal on all three nodes, 30 groups$/m);
    expect(output).toMatch(/^writes per second +[\d,]+ atomic/m);
    expect(output).toMatch(/^propagation +p50 [\d.]+ ms, p99 [\d.]+ ms at rest$/m);
    expect(output).toMatch(/^recovery time +[\d.]+ ms for 30 groups/m);

    const pids = [...output.matchAll(/node-\d +process (\d+)/g)].map(([, id]) => Number(id));
    expect(pids.map(isAlive)).toEqual([true, true, true]);
    run.process.kill("SIGINT");
    expect(await run.ended).toMatchObject({ status: 0 });
    expect(pids.filter(isAlive)).toEqual([]);
    const [kept] = await readdir(scratch);
    expect(await readdir(join(scratch, kept ?? ""))).toEqual(["input.json", "node-1", "node-2", "node-3"]);
    await emptyScratch();
  });

  test("fails and says what differs when a count does not agree", async () => {
    const script = join(folder, "disagree.mjs");
    await writeFile(
      script,
      `import { main } from ${JSON.stringify(new URL("program.js", dist).href)};
      import { countSequentially } from ${JSON.stringify(new URL("sequential-count.js", dist).href)};
      process.exitCode = await main(process.argv.slice(2), async (input) => {
        const { counts, total } = await countSequentially(input);
        return { total, counts: new Map([...counts, ["fox", counts.get("fox") + 1], ["unicorn", 7]]) };
      });`,
    );
    const { status, output } = await start([script, "--input", input]).ended;
    expect({ status, output }).toMatchObject({ status: 1 });
    expect(output).toContain("node-1 disagrees with the sequential count in 2 words");
    expect(output).toContain('"fox": 400 instead of 401');
    expect(output).toContain('"unicorn": 0 instead of 7');
    expect(await readdir(scratch)).toEqual([]);
  });

  test.each([
    [["--input", "/no/such/file"], /--input: cannot read \/no\/such\/file/],
    [["--input", ""], /--input: name a file or folder/],
    [["--inptu"], /Unknown option '--inptu'/],
  ])("says what is wrong with %j", async (args, message) => {
    const { status, output } = await start([program, ...args]).ended;
    expect({ status, output }).toMatchObject({ status: 1 });
    expect(output).toMatch(message);
  });

  test("names what is missing when it takes too long", async () => {
    const { status, output } = await start([program, "--input", input, "--timeout", "0.3"]).ended;
    expect({ status, output }).toMatchObject({ status: 1 });
    expect(output).toMatch(
      /gave up after 0\.3 s, waiting for .*; node-3 does not run, and had counted 0 of 200 chunks/,
    );
    expect(await readdir(scratch)).toEqual([]);
  });

  test("ends its nodes and removes their data on Ctrl-C", async () => {
    const run = start([program, "--input", input]);
    const pids = nodeProcesses(await run.until(ALL_RUN));
    expect(pids).toHaveLength(3);
    run.process.kill("SIGINT");
    expect(await run.ended).toMatchObject({ status: 130 });
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await readdir(scratch)).toEqual([]);
  });

  test("leaves no node behind when it is killed itself", async () => {
    const run = start([program, "--input", input]);
    const pids = nodeProcesses(await run.until(ALL_RUN));
    run.process.kill("SIGKILL");
    await run.ended;
    await expect.poll(() => pids.filter(isAlive), { timeout: 10_000 }).toEqual([]);
    await emptyScratch();
  });
});
