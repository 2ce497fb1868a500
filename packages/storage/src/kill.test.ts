import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { checkStorage } from "./check.ts";
import { openStorage } from "./registry/index.ts";

// Real processes run the built package: `npx tsc -b` first. KILL_ROUNDS=1000 makes a long run of it.
const ROUNDS = Number(process.env["KILL_ROUNDS"] ?? 10);
const DIST = join(import.meta.dirname, "..", "dist");
const GROUPS = 5;

/**
 * Loads every group and prints how many events it has, then writes until it is killed, and prints each position that
 * was acknowledged. A line `fail …` is for the test to show.
 */
const WRITER = `
import { writeSync } from "node:fs";
import { VersionVector } from "@coppice/crdt";
import { createGroupStore } from "${pathToFileURL(join(DIST, "index.js")).href}";
import { resolveStorage } from "${pathToFileURL(join(DIST, "registry", "index.js")).href}";
const say = (...words) => writeSync(1, words.join(" ") + "\\n");
const store = createGroupStore(await resolveStorage(process.argv[1]), { onDamage: (d) => say("fail", JSON.stringify(d)) });
await store.open();
const text = (bytes) => Buffer.from(bytes).toString();
const meta = (id, n) => ({ id, type: "t", epoch: 1, vector: new VersionVector(), frontier: [], time: n, digest: [n, 0] });
const next = [];
for (let index = 0; index < ${GROUPS}; index++) {
  const id = ["g", index];
  const group = await store.load(id);
  let events = group?.snapshot?.journalPosition ?? 0;
  if (group?.snapshot && text(group.snapshot.body).trim() !== "state " + events) say("fail state", events);
  for (const record of group?.records ?? []) {
    if (record.position !== events || text(record.bytes).trim() !== "event " + events) say("fail event", events);
    events += record.count;
  }
  if (group === undefined) await store.commit({ created: [meta(id, 0)] }, { sync: true });
  say("loaded", index, events);
  next[index] = events;
}
const padding = " ".repeat(2000);
await Promise.all(next.map(async (_, index) => {
  const id = ["g", index];
  for (;;) {
    const position = next[index]++;
    const records = [{ id, epoch: 1, position, count: 1, bytes: Buffer.from("event " + position + padding) }];
    const at = position + 1;
    const snapshot = { ...meta(id, at), journalPosition: at, body: Buffer.from("state " + at + padding) };
    const snapshots = position % 7 === 6 ? [snapshot] : [];
    await store.commit({ records, snapshots }, { sync: position % 3 === 0 });
    say("written", index, at);
  }
}));
`;

/** Runs one writer until it is killed; `acknowledged` goes in and out. */
async function round(uri: string, acknowledged: number[], afterMs: number): Promise<void> {
  const child = spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", WRITER, uri], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const failures: string[] = [];
  child.stderr.on("data", (text: Buffer) => failures.push(text.toString()));
  let killing: NodeJS.Timeout | undefined;
  const closed = once(child, "close");
  for await (const line of createInterface(child.stdout)) {
    const [word, index, count] = line.split(" ");
    if (word === "fail") failures.push(line);
    if (word === "loaded" && Number(count) < (acknowledged[Number(index)] ?? 0)) failures.push(`lost: ${line}`);
    if (word === "loaded" || word === "written") acknowledged[Number(index)] = Number(count);
    // Counted from the first acknowledged write: how long a process takes to start says nothing.
    if (word === "written") killing ??= setTimeout(() => child.kill("SIGKILL"), afterMs);
  }
  const [, signal] = (await closed) as [number | null, string | null];
  expect(failures).toEqual([]);
  expect(signal).toBe("SIGKILL");
}

const schemes = ["level", "lmdb", ...(isBuiltin("node:sqlite") ? ["sqlite"] : [])];

for (const scheme of schemes) {
  it.skipIf(!existsSync(DIST))(
    `${scheme}: a writer that is killed ${ROUNDS} times loses nothing that was acknowledged`,
    async () => {
      const directory = await mkdtemp(join(tmpdir(), `coppice-kill-${scheme}-`));
      const acknowledged: number[] = [];
      for (let index = 0; index < ROUNDS; index++) {
        await round(`${scheme}:${directory}`, acknowledged, (index * 37) % 120);
      }
      expect(acknowledged).toHaveLength(GROUPS);
      expect(Math.min(...acknowledged)).toBeGreaterThan(ROUNDS);
      {
        await using backend = await openStorage(`${scheme}:${directory}`);
        expect(await checkStorage(backend)).toMatchObject({ groups: GROUPS, damaged: 0 });
      }
      await rm(directory, { recursive: true });
    },
    ROUNDS * 3000 + 20_000,
  );
}
