import { cp } from "node:fs/promises";
import { join } from "node:path";
import { inDirectory } from "../replication/directory.ts";
import { type Figure, median } from "../replication/figure.ts";
import { COMPARED, start } from "./cluster.ts";
import { type Way, compare } from "./compare.ts";
import type { SystemName } from "./system.ts";

const MAPS = 1_000;
const WARM_UPS = 2;
const JOINS = 3;
const STARTS = 3;
/** Hocuspocus has no storage of its own that comes without a native install. */
const STORED = ["coppice", "automerge-repo"] as const;

/** Milliseconds of each join until a process has all maps of a host. */
async function joins(name: SystemName): Promise<number[]> {
  using host = await start(name);
  using joining = await start(name);
  const address = await host.ask<string>("host");
  const ids = await host.ask<string[]>("fill", { maps: MAPS });
  const times: number[] = [];
  for (let round = 0; round < WARM_UPS + JOINS; round++) {
    times.push(await joining.ask<number>("joinAll", { address, ids }));
    await joining.ask("close");
  }
  return times.slice(WARM_UPS);
}

/** How long a process that starts empty takes until it can read all of many small maps. */
export async function lateJoiner(): Promise<Figure[]> {
  const values = new Map<Way, number>();
  for (const name of COMPARED) values.set(name, median(await joins(name)));
  return compare({ name: `late joiner of ${MAPS} small maps, all readable`, unit: "ms" }, values);
}

/** Milliseconds that a fresh process takes each time on what one left that was killed. */
async function starts(name: SystemName, path: string): Promise<number[]> {
  const left = join(path, "left");
  const killed = await start(name);
  await killed.ask("host", { directory: left });
  const ids = await killed.ask<string[]>("fill", { maps: MAPS });
  await killed.kill();
  const times: number[] = [];
  for (let round = 0; round < STARTS; round++) {
    const directory = join(path, `start-${round}`);
    await cp(left, directory, { recursive: true });
    using starting = await start(name);
    times.push(await starting.ask<number>("startAll", { directory, ids }));
    await starting.kill();
  }
  return times;
}

/** How long a process that was killed takes, once its code is loaded, until it can read all that it had stored. */
export async function restart(): Promise<Figure[]> {
  const values = new Map<Way, number>();
  for (const name of STORED) values.set(`${name}-stored`, median(await inDirectory((path) => starts(name, path))));
  return compare({ name: `start after a kill, ${MAPS} small maps readable`, unit: "ms" }, values, {
    note: "what Hocuspocus stores into needs a native install",
  });
}
