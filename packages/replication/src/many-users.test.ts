import { gCounter } from "@coppice/crdt";
import { StorageError, createGroupStore } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import type { Node } from "./node.ts";
import { Grove, altered } from "./nodes.test-support.ts";

/** What a call may end with while nodes close, groups are deleted, and storages fail. */
const EXPECTED: ReadonlySet<unknown> = new Set([
  "APPLIED_NOT_DURABLE",
  "CLOSED",
  "GROUP_DELETED",
  "STORAGE_FAILED",
  "TIMEOUT",
  "UNKNOWN_GROUP",
]);
const NAMES = ["x", "y", "z"];
const STEPS = 200;
const waitMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Two nodes whose storages are slow and fail now and then. */
class Chaos {
  readonly grove: Grove;
  readonly problems: unknown[] = [];
  fails = false;
  readonly #disks = new Map<string, SimulatedDisk>();
  readonly #calls = new Set<Promise<unknown>>();

  constructor(seed: number) {
    this.grove = new Grove({ seed });
  }

  async start(name: string, peer: string): Promise<Node> {
    const disk = this.#disks.get(name) ?? new SimulatedDisk();
    this.#disks.set(name, disk);
    const backing = createGroupStore(disk.backend());
    const hinder = async (): Promise<void> => {
      if (Math.random() < 0.3) await waitMs(Math.random() * 15);
      if (this.fails && Math.random() < 0.3) throw new StorageError("IO", "no");
    };
    const storage = altered(backing, {
      load: async (id) => await hinder().then(() => backing.load(id)),
      commit: async (commit, options) => await hinder().then(() => backing.commit(commit, options)),
    });
    const often = { idleGraceMs: 10, heartbeatMs: 20, syncIntervalMs: 50, snapshotIntervalMs: 30 };
    const node = await this.grove.start(name, [], { storage, ...often, limits: { idleBytesMax: 3000 } });
    node.connect(`memory:/${peer}`).catch(() => {});
    return node;
  }

  /** Notes what a call ends with that it may not. */
  call(promise: Promise<unknown>): void {
    const call = promise
      .catch((error: unknown) => {
        if (!EXPECTED.has((error as { code?: unknown }).code)) this.problems.push(error);
      })
      .finally(() => this.#calls.delete(call));
    this.#calls.add(call);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#calls);
  }

  /** Opens a group, writes, reads, and closes it. */
  async use(node: Node, name: string): Promise<void> {
    const replica = await node.open(name, gCounter, { recreate: Math.random() < 0.4 });
    const changes = replica.changes();
    const reading = (async () => {
      for await (const { keys } of changes) if (keys.length > 0) this.problems.push(keys);
    })();
    try {
      for (let left = Math.floor(Math.random() * 5); left > 0; left--) {
        const write = replica.mutate((counter) => counter.increment(1));
        if (Math.random() < 0.3) await write;
        if (Math.random() < 0.1) await replica.mutate((counter) => counter.increment(1), { ack: "sync" });
        if (Math.random() < 0.1) await replica.readBarrier({ from: 1, timeoutMs: 500 });
        if (Math.random() < 0.3) await waitMs(Math.random() * 10);
      }
    } finally {
      replica.close();
      await reading;
    }
  }

  /** Something that users of a node do all the time. */
  act(node: Node): void {
    const name = NAMES[Math.floor(Math.random() * NAMES.length)] ?? "x";
    const choice = Math.random();
    if (choice < 0.6) this.call(this.use(node, name));
    else if (choice < 0.72) this.call(node.delete(name));
    else if (choice < 0.78) this.call(node.recover({ dryRun: Math.random() < 0.3 }));
    else if (choice < 0.84) this.call(node.snapshot());
    else if (choice < 0.9) this.call(node.sync());
    else if (choice < 0.96) this.call(node.verify(name, { timeoutMs: 300 }));
    else if (choice < 0.98) this.grove.network.reset("a", "b");
    else this.fails = !this.fails;
  }
}

describe("many users at once", () => {
  it.each([1, 2, 3, 4, 5])("leave no call without an end, and the nodes come together (%i)", async (seed) => {
    const chaos = new Chaos(seed);
    await using grove = chaos.grove;
    let nodes = [await chaos.start("a", "b"), await chaos.start("b", "a")];
    for (let step = 1; step <= STEPS; step++) {
      for (const node of nodes) chaos.act(node);
      if (step % 3 === 0) await waitMs(Math.random() * 20);
      if (step % 50 > 0) continue;
      const [name, peer] = step % 100 === 0 ? ["a", "b"] : ["b", "a"];
      await grove.stop(name).catch((error: unknown) => chaos.call(Promise.reject(error)));
      const again = await chaos.start(name, peer);
      nodes = name === "a" ? [again, ...nodes.slice(1)] : [...nodes.slice(0, 1), again];
    }
    chaos.fails = false;
    await chaos.settled();
    await Promise.all(nodes.map((node) => expect.poll(() => node.sync().then(() => "done", String)).toBe("done")));
    expect(chaos.problems).toEqual([]);
    if (grove.nodes().every((node) => node.peers().length === 0)) await nodes[0]?.connect("memory:/b");
    await grove.converged();
  });
});
