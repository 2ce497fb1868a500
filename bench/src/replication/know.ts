import { createGroupStore } from "@coppice/storage";
import { createNode, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { heapBytes } from "./heap.ts";
import { idOf, type Known } from "./many-groups.ts";

interface Spent {
  readonly ms: number;
  readonly cpuMs: number;
}

async function spend<Result>(run: () => Promise<Result>): Promise<Spent & { readonly result: Result }> {
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const result = await run();
  const { user, system } = process.cpuUsage(startCpu);
  return { ms: performance.now() - startMs, cpuMs: (user + system) / 1000, result };
}

/** Lists what is stored; opening the engine does not count. */
async function list(path: string): Promise<Spent & { readonly rows: number }> {
  await using store = createGroupStore(levelStorage(path));
  await store.open();
  const { result, ...spent } = await spend(async () => {
    let rows = 0;
    for await (const page of store.listGroups({ deleted: true })) rows += page.length;
    return rows;
  });
  return { ...spent, rows: result };
}

/** What starting a node on these groups takes beside listing them, and what it then holds. */
export async function know({ path, groups }: { path: string; groups: number }): Promise<Known> {
  const listed = await list(path);
  if (listed.rows !== groups) throw new Error(`${listed.rows} of ${groups} groups are stored`);
  // What the engine and the code take whatever there is to know.
  await (await createNode({ types: [lwwMap()], storage: levelStorage(path) })).close();
  const before = await heapBytes();
  const started = await spend(() => createNode({ types: [lwwMap()], storage: levelStorage(path) }));
  await using node = started.result;
  if ([...node.groups()].some(({ phase }) => phase !== "stored")) throw new Error("a group was loaded");
  const opened = await spend(() => node.open(idOf(0), lwwMap()));
  // What is made behind the first load belongs to what a node holds.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = await heapBytes();
  return {
    listMs: listed.ms,
    readyMs: started.ms,
    listCpuMs: listed.cpuMs,
    readyCpuMs: started.cpuMs,
    openMs: opened.ms,
    bytesEach: (after - before) / groups,
  };
}
