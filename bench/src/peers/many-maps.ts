import { cp } from "node:fs/promises";
import { join } from "node:path";
import { inDirectory } from "../replication/directory.ts";
import type { Figure } from "../replication/figure.ts";
import { COMPARED, Processes, inTurns } from "./cluster.ts";
import { type Way, compare } from "./compare.ts";
import type { SystemName } from "./system.ts";

const MAPS = 1_000;
const ROUNDS = 3;
/** Hocuspocus has no storage of its own that comes without a native install. */
const STORED = ["coppice", "automerge-repo"] as const;

/** A process that joins a host of many maps; measures milliseconds until all are there. */
async function joining(processes: Processes, name: SystemName): Promise<() => Promise<number>> {
  const host = await processes.start(name);
  const address = await host.ask<string>("host");
  const ids = await host.ask<string[]>("fill", { maps: MAPS });
  const worker = await processes.start(name);
  return async () => {
    const ms = await worker.ask<number>("joinAll", { address, ids });
    await worker.ask("close");
    return ms;
  };
}

/** How long a process that starts empty takes until it can read all of many small maps. */
export async function lateJoiner(): Promise<Figure[]> {
  using processes = new Processes();
  const subjects = new Map<Way, () => Promise<number>>();
  for (const name of COMPARED) subjects.set(name, await joining(processes, name));
  const values = await inTurns(subjects, { warmUps: 2, rounds: ROUNDS });
  return compare({ name: `late joiner of ${MAPS} small maps, all readable`, unit: "ms" }, values);
}

/** A process that starts on a copy of what one left that was killed; measures milliseconds, without loading code. */
async function starting(processes: Processes, name: SystemName, path: string): Promise<() => Promise<number>> {
  const left = join(path, `${name}-left`);
  const killed = await processes.start(name);
  await killed.ask("host", { directory: left });
  const ids = await killed.ask<string[]>("fill", { maps: MAPS });
  await killed.kill();
  let copies = 0;
  return async () => {
    const directory = join(path, `${name}-${copies++}`);
    await cp(left, directory, { recursive: true });
    const worker = await processes.start(name);
    const ms = await worker.ask<number>("startAll", { directory, ids });
    await worker.kill();
    return ms;
  };
}

/** How long a process that was killed takes until it can read all that it had stored. */
export async function restart(): Promise<Figure[]> {
  using processes = new Processes();
  const values = await inDirectory(async (path) => {
    const subjects = new Map<Way, () => Promise<number>>();
    for (const name of STORED) subjects.set(`${name}-stored`, await starting(processes, name, path));
    return await inTurns(subjects, { rounds: ROUNDS });
  });
  return compare({ name: `start after a kill, ${MAPS} small maps readable`, unit: "ms" }, values, {
    note: "what Hocuspocus stores into needs a native install",
  });
}
