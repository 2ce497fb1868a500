import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { gCounter } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { SimulatedDisk } from "@coppice/storage/testing";
import { temporaryDirectory } from "./support/temporary.ts";

const WRITERS = 64;
const ROUNDS = 10;

/** Whether the system calls of a process can be traced here. */
function canTrace(): boolean {
  try {
    execFileSync("strace", ["-f", "-e", "trace=fdatasync", process.execPath, "-e", "0"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

it("64 writers that wait for stable storage share syncs: one a group commit, on a simulated disk", async () => {
  const disk = new SimulatedDisk();
  const counts = { write: 0, sync: 0 };
  await using node = await createNode({
    types: [gCounter],
    storage: disk.backend(),
    durability: "sync",
    snapshotIntervalMs: false,
  });
  const counters = await Promise.all(Array.from({ length: WRITERS }, (_, index) => node.open(["c", index], gCounter)));
  await Promise.all(counters.map((counter) => counter.mutate((c) => c.increment(1), { ack: "sync" })));
  disk.faults.fail = (operation) => {
    if (operation === "write" || operation === "sync") counts[operation]++;
    return undefined;
  };
  const before = disk.history.length;
  await Promise.all(
    counters.map(async (counter) => {
      for (let round = 0; round < ROUNDS; round++) await counter.mutate((c) => c.increment(1), { ack: "sync" });
    }),
  );
  disk.faults.fail = undefined;
  // Each write to the disk is a group commit, and each is synced, once.
  expect(disk.history.slice(before).every(({ synced }) => synced)).toBe(true);
  expect(counts.sync).toBe(counts.write);
  expect(counts.write).toBe(disk.history.length - before);
  expect(counts.sync).toBeGreaterThanOrEqual(ROUNDS);
  expect(counts.sync).toBeLessThanOrEqual((WRITERS * ROUNDS) / 10);
  // What was acknowledged is what a power cut leaves.
  await using after = await createNode({ types: [gCounter], storage: disk.afterPowerCut().backend() });
  const left = await Promise.all(counters.map(async ({ id }) => (await after.open(id, gCounter)).value()));
  expect(left).toEqual(counters.map(() => ROUNDS + 1));
});

/** The file that a sync of each engine is of. */
const engines: [string, RegExp][] = [
  ["level", /^fdatasync .*\/data\/db\/\d+\.log$/],
  ["lmdb", /^fdatasync .*\/data\/lmdb\/data\.mdb$/],
];

// Tracing needs the program strace, and the right to trace a child process.
describe.skipIf(!canTrace())("in a trace of a process with a real engine", () => {
  it.each(engines)("one fdatasync a group commit: %s", (scheme, expected) => {
    const directory = temporaryDirectory("trace");
    const trace = join(directory, "trace");
    const script = join(import.meta.dirname, "support", "sync-writers.mjs");
    const child = [process.execPath, script, scheme, directory, WRITERS, ROUNDS].map(String);
    const args = ["-f", "-y", "-e", "trace=fdatasync,fsync", "-o", trace, ...child];
    const printed = execFileSync("strace", args, { encoding: "utf8", timeout: 60_000 });
    const { writes, groupCommits } = JSON.parse(printed) as { writes: number; groupCommits: number };
    const lines = readFileSync(trace, "utf8").split("\n");
    // A call that another thread interrupts has a second line, which begins with its name in brackets.
    const calls = lines.flatMap((line) => /(fdatasync|fsync)\(\d+<([^>]*)>/.exec(line)?.slice(1, 3).join(" ") ?? []);
    const [begin, end] = [calls.indexOf(`fsync ${directory}/marker`), calls.lastIndexOf(`fsync ${directory}/marker`)];
    expect(begin).toBeGreaterThan(0);
    expect(end).toBeGreaterThan(begin);
    const between = calls.slice(begin + 1, end);
    expect(between.filter((call) => !expected.test(call))).toEqual([]);
    expect(between.length).toBe(groupCommits);
    expect(writes).toBe(WRITERS * ROUNDS);
    expect(groupCommits).toBeGreaterThanOrEqual(ROUNDS);
    expect(groupCommits).toBeLessThanOrEqual(writes / 10);
  });
});
