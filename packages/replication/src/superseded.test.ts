import { gCounter } from "@coppice/crdt";
import { createGroupStore, memoryStorage } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import type { Node } from "./node.ts";
import type { Notice } from "./node-options.ts";
import { Grove, altered, gate, notes } from "./nodes.test-support.ts";

function movedAside(grove: Grove): unknown[] {
  return grove.notices.filter(({ code }) => code === "MOVED_ASIDE").map(({ group }) => group);
}

/** A group that both have is written to on `a`, whose link is down, and deleted on `b`. */
async function deleteUnseen(grove: Grove, a: Node, b: Node): Promise<void> {
  const onA = await a.open("m", notes);
  onA.mutate((m) => m.set("shared", "1"));
  await grove.converged();
  grove.network.partition("a", "b");
  await onA.mutate((m) => m.set("only here", "2"));
  await b.delete("m");
}

describe("an epoch that a peer has left", () => {
  it("is moved aside when it held own writes that no peer had: listed, readable, removable", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const a = await grove.start("a", [], { storage });
    const b = await grove.start("b", ["a"]);
    await deleteUnseen(grove, a, b);
    grove.network.heal();
    await expect.poll(() => a.group("m")?.phase).toBe("deleted");
    expect(movedAside(grove)).toEqual(["m"]);
    expect(await a.superseded()).toMatchObject([{ id: "m", type: notes.name, epoch: 1, events: 2 }]);
    expect(await a.readSuperseded("m", 1)).toMatchObject({ value: { shared: "1", "only here": "2" } });
    expect(await a.readSuperseded("m", 3)).toBeUndefined();
    expect(await b.superseded()).toEqual([]);

    await grove.stop("a");
    const again = await grove.start("a", ["b"], { storage });
    const report = await again.recover({ dryRun: true });
    expect(report.superseded).toMatchObject([{ id: "m", epoch: 1 }]);
    expect(await again.removeSuperseded("m", 1)).toBe(true);
    expect(await again.removeSuperseded("m", 1)).toBe(false);
    expect(await again.superseded()).toEqual([]);
  });

  it("is listed by the time that its notice comes, and read, however long it takes to store it", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(memoryStorage());
    await backing.open();
    const commits = gate();
    let isSlow = false;
    const storage = altered(backing, {
      commit: async (...what) => {
        if (isSlow) await commits.opened;
        await backing.commit(...what);
      },
    });
    let listed: ReturnType<Node["superseded"]> | undefined;
    const onNotice = ({ code }: Notice): void => {
      if (code === "MOVED_ASIDE") listed = a.superseded();
    };
    const a = await grove.start("a", [], { storage, onNotice });
    const b = await grove.start("b", ["a"]);
    await deleteUnseen(grove, a, b);
    isSlow = true;
    grove.network.heal();
    await expect.poll(() => listed !== undefined).toBe(true);
    const read = a.readSuperseded("m", 1);
    commits.open();
    expect(await listed).toMatchObject([{ id: "m", epoch: 1 }]);
    expect(await read).toMatchObject({ value: { "only here": "2" } });
    expect(await a.removeSuperseded("m", 1)).toBe(true);
  });

  it("leaves nothing behind when whoever ended it, or any peer, had seen it all", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { syncIntervalMs: 60_000 });
    const b = await grove.start("b", ["a"], { syncIntervalMs: 60_000 });
    const c = await grove.start("c", ["b"], { syncIntervalMs: 60_000 });
    const [onA] = await Promise.all([a, b, c].map((node) => node.open("m", notes)));
    onA?.mutate((m) => m.set("k", "v"));
    await grove.converged();
    // At once, before anything was compared; c tells b, and b tells a, what c knew.
    await c.delete("m");
    await grove.converged();
    expect(movedAside(grove)).toEqual([]);
    const counter = await a.open("c", gCounter);
    await counter.mutate((x) => x.increment(1), { ack: { replicas: 1 } });
    grove.network.partition("a", "b");
    await b.delete("c");
    const anew = await b.open("c", gCounter, { recreate: true });
    grove.network.heal();
    anew.mutate((x) => x.increment(1));
    await expect.poll(() => a.group("c")?.epoch).toBe(3);
    expect(movedAside(grove)).toEqual([]);
  });

  it("is loaded first when its writes are from an earlier run", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const a = await grove.start("a", [], { storage });
    await (await a.open("m", notes)).mutate((m) => m.set("alone", "1"));
    await grove.stop("a");
    const b = await grove.start("b");
    (await b.open("m", notes)).mutate((m) => m.set("other", "2"));
    await b.delete("m");
    (await b.open("m", notes, { recreate: true })).mutate((m) => m.set("new", "3"));
    const again = await grove.start("a", ["b"], { storage });
    await grove.converged();
    expect((await again.open("m", notes)).value()).toEqual({ new: "3" });
    expect(await again.readSuperseded("m", 1)).toMatchObject({ value: { alone: "1" } });
    expect(movedAside(grove)).toEqual(["m"]);
  });

  it("is moved aside, too, when its writes were still in a journal as a peer compared with what was known without", async () => {
    await using grove = new Grove({ halfOpenMs: 100 });
    const backing = createGroupStore(new SimulatedDisk().backend());
    const first = await grove.start("a", [], { storage: backing });
    const b = await grove.start("b", ["a"]);
    const counter = await first.open("c", gCounter);
    await counter.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    await first.snapshot();
    grove.network.partition("a", "b");
    await counter.mutate((c) => c.increment(1), { ack: "log" });
    grove.crash("a");
    grove.network.heal();
    const loads = gate();
    // The killed node has it open.
    const storage = altered(backing, {
      open: async () => {},
      load: async (id) => await loads.opened.then(() => backing.load(id)),
    });
    const again = await grove.start("a", ["b"], { storage });
    expect(again.group("c")?.phase).toBe("loading");
    const before = b.peers()[0]?.lastSyncAt ?? 0;
    await expect.poll(() => b.peers()[0]?.lastSyncAt ?? 0).toBeGreaterThan(before);
    await new Promise((resolve) => setTimeout(resolve, 300));
    grove.network.partition("a", "b");
    await expect.poll(() => again.peers()).toEqual([]);
    loads.open();
    await expect.poll(() => again.group("c")?.events).toBe(2);
    await b.delete("c");
    grove.network.heal();
    await expect.poll(() => again.group("c")?.phase).toBe("deleted");
    expect(await again.superseded()).toMatchObject([{ id: "c", events: 2 }]);
  });

  it("is kept although the storage fails at that moment", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(memoryStorage());
    let failures = 0;
    const storage = altered(backing, {
      commit: async (commit, options) => {
        if ((commit.superseded ?? []).length > 0 && failures++ < 2) throw new Error("the disk is gone");
        return await backing.commit(commit, options);
      },
    });
    const a = await grove.start("a", [], { storage });
    const b = await grove.start("b", ["a"]);
    await deleteUnseen(grove, a, b);
    grove.network.heal();
    await expect.poll(async () => (await a.superseded()).length, { timeout: 10_000 }).toBe(1);
    expect(failures).toBeGreaterThan(2);
    expect(await a.readSuperseded("m", 1)).toMatchObject({ value: { "only here": "2" } });
    await expect.poll(() => grove.notices.map(({ code }) => code)).toContain("STORAGE_RECOVERED");
  });
});
