import { gCounter } from "@coppice/crdt";
import { createGroupStore, memoryStorage } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import { createNode } from "./node.ts";
import { Grove, altered, gate } from "./nodes.test-support.ts";

describe("closing a node", () => {
  it("ends everything that waits, at once", async () => {
    await using grove = new Grove();
    const rosters = { shop: ["a", "b", "c"] };
    const node = await grove.start("a", [], { rosters });
    await grove.start("b", ["a"], { rosters });
    const group = await node.open(["shop", 1], gCounter);
    await group.mutate((counter) => counter.increment(1), { ack: { replicas: 1 } });
    const changes = group.changes();
    grove.network.partition("a", "b");
    const waiting = [
      group.mutate((counter) => counter.increment(1), { ack: { replicas: "all" } }),
      group.readBarrier({ from: "all" }),
      node.verify(["shop", 1]),
      node.collect(["shop", 1]),
      node.open(["shop", 2], gCounter),
    ].map((promise) => Promise.resolve(promise).catch((error: unknown) => error));
    const startedAt = performance.now();
    await grove.stop("a");
    for (const outcome of await Promise.all(waiting)) expect(outcome).toMatchObject({ code: "CLOSED" });
    expect(performance.now() - startedAt).toBeLessThan(1000);
    // What had changed before is told; then it ends.
    for await (const change of changes) expect(change.origin).toBe("local");
  });

  it("ends a recovery, as a signal does with its reason", async () => {
    const disk = new SimulatedDisk();
    const first = await createNode({ types: [gCounter], storage: disk.backend() });
    for (let index = 0; index < 2000; index++) {
      (await first.open(["d", index], gCounter)).mutate((counter) => counter.increment(1));
    }
    await first.close();
    const node = await createNode({ types: [gCounter], storage: disk.backend() });
    for (const dryRun of [true, false]) {
      const abort = new AbortController();
      const recovering = node.recover({
        dryRun,
        signal: abort.signal,
        onProgress: () => abort.abort(new Error("enough")),
      });
      await expect(recovering).rejects.toThrow("enough");
    }
    const outcome = node.recover().catch((error: unknown) => error);
    await node.close();
    expect(await outcome).toMatchObject({ code: "CLOSED" });
  });

  it("ends a deletion that the storage does not take, and closes the storage", async () => {
    const disk = new SimulatedDisk();
    const backend = disk.backend();
    const node = await createNode({ types: [gCounter], storage: backend });
    const group = await node.open("views", gCounter);
    await group.mutate((counter) => counter.increment(1));
    disk.faults.fail = (operation) => (operation === "write" ? new Error("no") : undefined);
    const deleted = node.delete("views");
    const outcome = deleted.catch((error: unknown) => error);
    await expect(node.close()).rejects.toThrow("no");
    expect(await outcome).toMatchObject({ code: "CLOSED" });
    expect(backend.status).toBe("closed");
  });

  it("ends writes whose commit the storage never takes", async () => {
    const disk = new SimulatedDisk();
    const node = await createNode({ types: [gCounter], storage: disk.backend() });
    const group = await node.open("views", gCounter);
    await group.mutate((counter) => counter.increment(1));
    // Where the journal ends cannot be read either, so that nothing is tried again.
    disk.faults.fail = (operation) => (operation === "open" ? undefined : new Error("no"));
    const first = group.mutate((counter) => counter.increment(1), { ack: "sync" });
    await Promise.resolve();
    const second = group.mutate((counter) => counter.increment(1), { ack: "sync" });
    const outcomes = Promise.all(
      [first, second].map((write) => Promise.resolve(write).catch((error: unknown) => error)),
    );
    await expect(node.close()).rejects.toThrow("no");
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ code: "APPLIED_NOT_DURABLE" });
    await expect(second).rejects.toMatchObject({ code: "APPLIED_NOT_DURABLE", cause: { code: "CLOSED" } });
  });

  it("goes on when a group whose journal's end is looked for after a failure is deleted by a peer", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(new SimulatedDisk().backend());
    let isBroken = false;
    const loads = gate();
    const storage = altered(backing, {
      commit: async (commit, options) => {
        if (isBroken) throw new Error("no");
        await backing.commit(commit, options);
      },
      load: async (id) => await loads.opened.then(() => backing.load(id)),
    });
    const node = await grove.start("a", [], { storage });
    const peer = await grove.start("b", ["a"]);
    const group = await node.open("views", gCounter);
    await group.mutate((counter) => counter.increment(1), { ack: { replicas: 1 } });
    isBroken = true;
    const write = group.mutate((counter) => counter.increment(1), { ack: "log" });
    await expect(write).rejects.toMatchObject({ code: "APPLIED_NOT_DURABLE" });
    isBroken = false;
    const closed = node.close();
    await peer.delete("views");
    await expect.poll(() => group.status.phase).toBe("deleted");
    loads.open();
    await closed;
  });

  it("does not wait for those who go on writing, nor does a sync", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(new SimulatedDisk().backend());
    const storage = altered(backing, {
      commit: async (commit, options) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        await backing.commit(commit, options);
      },
    });
    const node = await grove.start("a", [], { storage });
    const group = await node.open("views", gCounter);
    const write = async (): Promise<void> => {
      for (;;) {
        group.mutate((counter) => counter.increment(1));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const written = write().catch((error: unknown) => error);
    await node.sync();
    await node.close();
    expect(await written).toMatchObject({ code: "CLOSED" });
    const again = await grove.start("a", [], { storage });
    expect((await again.open("views", gCounter)).value()).toBe(group.status.events);
  });

  it("does not depend on the clock", async () => {
    await using grove = new Grove();
    let ahead = 0;
    const storage = memoryStorage();
    const node = await grove.start("a", [], { storage, now: () => Date.now() + ahead });
    await grove.start("b", ["a"]);
    const group = await node.open("views", gCounter);
    ahead = 10 * 3_600_000;
    await expect
      .poll(() => {
        try {
          group.mutate((counter) => counter.increment(1));
          return undefined;
        } catch (error) {
          return error;
        }
      })
      .toMatchObject({ code: "CLOCK_SKEW" });
    await node.snapshot();
    await node.close();
  });
});
