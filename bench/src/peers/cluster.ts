import { Worker } from "../replication/worker.ts";
import type { SystemName } from "./system.ts";

/** Who takes part in a comparison, ours first. */
export const COMPARED: readonly SystemName[] = ["coppice", "automerge-repo", "hocuspocus"];

/** Another process, with the system loaded. */
export async function start(name: SystemName): Promise<Worker> {
  const worker = new Worker(new URL("worker-main.js", import.meta.url));
  await worker.ask("load", { name });
  return worker;
}

/** A host and those who have joined it, each in a process of its own, with one map open in all of them. */
export class Cluster implements Disposable {
  readonly host: Worker;
  /** The first to join. */
  readonly member: Worker;
  readonly others: readonly Worker[];

  private constructor(host: Worker, member: Worker, others: readonly Worker[]) {
    this.host = host;
    this.member = member;
    this.others = others;
  }

  /** `way` may put something between the host and the others. */
  static async start(
    name: SystemName,
    { others = 0, way }: { others?: number; way?: (address: string) => Promise<string> } = {},
  ): Promise<Cluster> {
    const joining = Array.from({ length: others }, () => start(name));
    const cluster = new Cluster(await start(name), await start(name), await Promise.all(joining));
    const hosted = await cluster.host.ask<string>("host");
    const address = way === undefined ? hosted : await way(hosted);
    const id = await cluster.host.ask<string>("create");
    for (const worker of [cluster.member, ...cluster.others]) {
      await worker.ask("join", { address });
      await worker.ask("open", { id });
    }
    return cluster;
  }

  [Symbol.dispose](): void {
    for (const worker of [this.host, this.member, ...this.others]) worker[Symbol.dispose]();
  }
}
