import { median } from "../replication/figure.ts";
import { Worker } from "../replication/worker.ts";
import type { SystemName } from "./system.ts";

/** Who takes part in a comparison, ours first. */
export const COMPARED: readonly SystemName[] = ["coppice", "automerge-repo", "hocuspocus"];

/** The processes of a measurement, which end with it. */
export class Processes implements Disposable {
  readonly #workers: Worker[] = [];

  /** Another one, with the system loaded. */
  async start(name: SystemName): Promise<Worker> {
    const worker = new Worker(new URL("worker-main.js", import.meta.url));
    this.#workers.push(worker);
    await worker.ask("load", { name });
    return worker;
  }

  [Symbol.dispose](): void {
    for (const worker of this.#workers) worker[Symbol.dispose]();
  }
}

/** A host and those who have joined it, each in a process of its own, with one map open in all of them. */
export interface Cluster {
  readonly host: Worker;
  /** The first to join. */
  readonly member: Worker;
  readonly others: readonly Worker[];
}

/** `way` may put something between the host and the others. */
export async function startCluster(
  processes: Processes,
  name: SystemName,
  { others = 0, way }: { others?: number; way?: (address: string) => Promise<string> } = {},
): Promise<Cluster> {
  const host = await processes.start(name);
  const hosted = await host.ask<string>("host");
  const address = way === undefined ? hosted : await way(hosted);
  const id = await host.ask<string>("create");
  const join = async (): Promise<Worker> => {
    const worker = await processes.start(name);
    await worker.ask("join", { address });
    await worker.ask("open", { id });
    return worker;
  };
  return { host, member: await join(), others: await Promise.all(Array.from({ length: others }, join)) };
}

/** The median of each subject's figures; they take turns, and the first rounds warm up. */
export async function inTurns<Name>(
  subjects: ReadonlyMap<Name, () => Promise<number>>,
  { warmUps = 0, rounds }: { warmUps?: number; rounds: number },
): Promise<Map<Name, number>> {
  const found = new Map([...subjects.keys()].map((name) => [name, [] as number[]]));
  for (let round = -warmUps; round < rounds; round++) {
    for (const [name, measure] of subjects) {
      const value = await measure();
      if (round >= 0) found.get(name)?.push(value);
    }
  }
  return new Map([...found].map(([name, values]) => [name, median(values)]));
}
