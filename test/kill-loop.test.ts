import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Random } from "coppice/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { temporaryDirectory } from "./support/temporary.ts";

const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 32);
const writer = fileURLToPath(new URL("support/kill-loop-writer.mjs", import.meta.url));

interface Recovered {
  readonly keys: readonly string[];
  /** Moves in the same atomic write as the keys. */
  readonly count: number;
  readonly groups: number;
  readonly degraded: number;
  readonly failed: number;
}

interface Line {
  readonly recovered?: Recovered;
  readonly acknowledged?: string;
  readonly notice?: { readonly code: string; readonly message: string };
}

interface Round {
  readonly data: string;
  readonly round: number;
  readonly durability: "log" | "sync";
  readonly snapshotIntervalMs: number | false;
  readonly writers: number;
  readonly valueBytes: number;
}

/** What a process has told before it was killed. */
interface Told {
  readonly recovered: Recovered | undefined;
  readonly acknowledged: readonly string[];
  readonly notices: readonly string[];
}

/** Runs a writing process and kills it: `killAfterMs` after its start, or after its first acknowledged write. */
async function run(round: Round, kill: { afterMs: number; counts: "start" | "writes" } | "never"): Promise<Told> {
  const child = spawn(process.execPath, [writer, JSON.stringify(round)], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const acknowledged: string[] = [];
  const notices: string[] = [];
  let recovered: Recovered | undefined;
  const killLater = async (afterMs: number): Promise<void> => {
    await sleep(afterMs);
    child.kill("SIGKILL");
  };
  let killed = kill !== "never" && kill.counts === "start" ? killLater(kill.afterMs) : undefined;
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text) as Line;
    if (line.notice !== undefined) notices.push(`${line.notice.code}: ${line.notice.message}`);
    recovered = line.recovered ?? recovered;
    if (line.acknowledged === undefined) continue;
    acknowledged.push(line.acknowledged);
    if (kill !== "never") killed ??= killLater(kill.afterMs);
  }
  await killed;
  const [code, signal] = (await exited) as [number | null, NodeJS.Signals | null];
  expect(signal ?? code).toBe(kill === "never" ? 0 : "SIGKILL");
  return { recovered, acknowledged, notices };
}

/** Rounds on one directory; returns how many acknowledged writes were checked. */
async function killRounds(
  random: Random,
  rounds: number,
  settings: (round: number) => Omit<Round, "data" | "round">,
): Promise<number> {
  const data = temporaryDirectory("kill-loop");
  const acknowledged = new Set<string>();
  const check = ({ recovered, notices }: Told, round: number): void => {
    expect(notices, `round ${round}`).toEqual([]);
    if (recovered === undefined) return;
    const keys = new Set(recovered.keys);
    const lost = [...acknowledged].filter((key) => !keys.has(key));
    expect(lost, `acknowledged writes missing after round ${round - 1}`).toEqual([]);
    expect(recovered.count, `torn batches in round ${round}`).toBe(keys.size);
    expect(recovered, `round ${round}`).toMatchObject({ degraded: 0, failed: 0 });
  };
  for (let round = 0; round < rounds; round++) {
    // Every fourth process dies somewhere in its start: loading modules, opening, replaying, first writes.
    const counts = round % 4 === 3 ? "start" : "writes";
    const afterMs = random.below(counts === "start" ? 600 : 150);
    const told = await run({ data, round, ...settings(round) }, { afterMs, counts });
    check(told, round);
    for (const key of told.acknowledged) acknowledged.add(key);
  }
  const last = { data, round: rounds, ...settings(rounds), writers: 0 };
  const clean = await run(last, "never");
  check(clean, rounds);
  expect(clean.recovered).toMatchObject({ groups: 1 });
  console.log(`${acknowledged.size} acknowledged writes, ${clean.recovered?.count} present`);
  return acknowledged.size;
}

describe("a process in mode log or sync that is killed again and again", () => {
  console.log(`SEED=${seed} repeats these rounds (apart from the timing of the machine)`);
  const random = new Random(seed);

  test("loses no acknowledged write when its journal outgrows its snapshots", async () => {
    const checked = await killRounds(random, 10, (round) => ({
      durability: round % 3 === 2 ? "sync" : "log",
      snapshotIntervalMs: false,
      writers: 1 + random.below(16),
      // Journals of more than 64 KiB are cut by a snapshot, which a round then reaches many times.
      valueBytes: 200 + random.below(800),
    }));
    expect(checked).toBeGreaterThan(10);
  });

  test("loses no acknowledged write when it takes a snapshot at every turn", async () => {
    const checked = await killRounds(random, 10, (round) => ({
      durability: round % 3 === 2 ? "sync" : "log",
      snapshotIntervalMs: 10,
      writers: 1 + random.below(16),
      valueBytes: random.below(100),
    }));
    expect(checked).toBeGreaterThan(10);
  });
});
