import { gCounter, lwwRegister } from "@coppice/crdt";
import { createGroupStore, domainOf, encodeGroupId, memoryStorage } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import { Grove, altered, gate, notes, words } from "./nodes.test-support.ts";

describe("the feed of changed groups", () => {
  it("tells what changed since a cursor, here or by peers, also of groups that were unloaded or deleted", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { idleGraceMs: 20, heartbeatMs: 20 });
    const b = await grove.start("b", ["a"]);
    const first = a.changedSince(undefined);
    expect(first).toMatchObject({ groups: [], startOver: true });
    for (const name of ["x", "y"]) {
      const counter = await a.open(name, gCounter);
      await counter.mutate((c) => c.increment(1));
      counter.close();
    }
    await (await b.open("z", gCounter)).mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    const next = a.changedSince(first.cursor, { limit: 2 });
    expect(next).toMatchObject({ groups: ["x", "y"], hasMore: true, startOver: false });
    const last = a.changedSince(next.cursor);
    expect(last).toMatchObject({ groups: ["z"], hasMore: false });
    expect(a.changedSince(last.cursor)).toMatchObject({ groups: [], cursor: last.cursor, startOver: false });
    await a.snapshot();
    await expect.poll(() => a.group("x")?.phase).toBe("stored");
    expect(a.changedSince(last.cursor).groups).toEqual([]);
    await b.delete("y");
    await expect.poll(() => a.changedSince(last.cursor).groups).toEqual(["y"]);
    for (const foreign of [b.changedSince(undefined).cursor, "nonsense", `${a.incarnation}.99999`]) {
      expect(a.changedSince(foreign)).toMatchObject({ groups: [], startOver: true });
    }
  });

  it("tells those who watch of each change as it comes, of a turn together", async () => {
    await using grove = new Grove();
    const [a, b] = [await grove.start("a"), await grove.start("b", ["a"])];
    const told: unknown[][] = [];
    const stop = a.onChange((groups) => void told.push([...groups]));
    const [x, y] = [await a.open(["list", "x"], gCounter), await a.open(["list", "y"], gCounter)];
    told.length = 0;
    for (const counter of [x, y, x]) counter.mutate((c) => c.increment(1));
    await expect
      .poll(() => told)
      .toEqual([
        [
          ["list", "x"],
          ["list", "y"],
        ],
      ]);
    await (await b.open(["list", "z"], gCounter)).mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    expect(told.flat()).toContainEqual(["list", "z"]);
    told.length = 0;
    await b.delete(["list", "z"]);
    await expect.poll(() => told).toEqual([[["list", "z"]]]);
    stop();
    await y.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    expect(told).toHaveLength(1);
  });
});

describe("restart", () => {
  it("finds every stored group by listing, and recovers it", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const node = await grove.start("a", [], { storage });
    (await node.open(["words", "a"], words)).mutate((g) => g.total.increment(2));
    (await node.open("views", gCounter)).mutate((c) => c.increment(7));
    await grove.stop("a");
    const again = await grove.start("a", [], { storage });
    const stored = new Map([...again.groups()].map(({ id, phase }) => [JSON.stringify(id), phase]));
    expect(stored).toEqual(
      new Map([
        ['["words","a"]', "stored"],
        ['"views"', "stored"],
      ]),
    );
    const dry = await again.recover({ dryRun: true });
    expect(dry).toMatchObject({ recovered: 0, events: 2 });
    const whole = { epoch: 1, journalEvents: 0, journalBytes: 0, damage: [], degraded: false };
    expect(dry.stored).toMatchObject([
      { ...whole, id: "views", type: "gcounter" },
      { ...whole, id: ["words", "a"] },
    ]);
    expect(dry.stored.every(({ snapshotBytes, snapshotAt }) => snapshotBytes > 0 && snapshotAt > 0)).toBe(true);
    const progress: number[] = [];
    const report = await again.recover({ onProgress: ({ done, total }) => progress.push(done / total) });
    expect(report).toMatchObject({ recovered: 2, degraded: [], failed: [], unknown: [], events: 2 });
    expect(progress).toEqual([0.5, 1]);
    expect((await again.open("views", gCounter)).value()).toBe(7);
    expect((await again.open(["words", "a"], words)).value().total).toBe(2);
  });

  it("writes on as a new actor: a restored older image reuses no dot", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", [], { storage: memoryStorage() });
    const other = await grove.start("b", ["a"]);
    const counter = await node.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await grove.converged();
    grove.crash("a");
    // The image from before the write: empty.
    const restored = await grove.start("a", ["b"], { storage: memoryStorage() });
    const again = await restored.open("c", gCounter);
    again.mutate((c) => c.increment(10));
    await grove.converged();
    expect(again.value()).toBe(11);
    expect((await other.open("c", gCounter)).value()).toBe(11);
  });

  it("catches up on what was written while the node was down", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    await grove.start("a", [], { storage });
    const b = await grove.start("b", ["a"]);
    const onB = await b.open("m", notes);
    onB.mutate((m) => m.set("k", "1"));
    await grove.converged();
    await grove.stop("a");
    onB.mutate((m) => m.set("k", "2"));
    onB.mutate((m) => m.set("l", "3"));
    const a = await grove.start("a", ["b"], { storage });
    const onA = await a.open("m", notes);
    await onA.synced();
    expect(onA.value()).toEqual({ k: "2", l: "3" });
  });
});

describe("types", () => {
  it("created anew under another type is a TYPE_CONFLICT for handles of the former one", async () => {
    await using grove = new Grove();
    const [a, b] = [await grove.start("a"), await grove.start("b", ["a"])];
    const former = await a.open("g", gCounter);
    await former.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    await b.delete("g");
    const anew = await b.open("g", notes, { recreate: true });
    await anew.mutate((m) => m.set("k", "v"), { ack: { replicas: 1 } });
    expect((await a.open("g", notes)).value()).toEqual({ k: "v" });
    for (const use of [
      () => former.value(),
      () => former.read((view) => view),
      () => former.mutate((c) => c.increment(1)),
      () => former.subscribe(() => {}),
      () => former.contentHash(),
    ])
      expect(use).toThrow(expect.objectContaining({ code: "TYPE_CONFLICT" }));
    await expect(former.readBarrier({ from: 1 })).rejects.toMatchObject({ code: "TYPE_CONFLICT" });
    expect(anew.value()).toEqual({ k: "v" });
  });

  it("opened under another type is a TYPE_CONFLICT, and nothing changes", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("g", gCounter);
    counter.mutate((c) => c.increment(1));
    await expect(node.open("g", lwwRegister<string>())).rejects.toMatchObject({ code: "TYPE_CONFLICT" });
    expect(counter.value()).toBe(1);
  });

  it("of one group that differ between peers are reported on both sides, never merged", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b");
    const onA = await a.open("g", gCounter);
    const onB = await b.open("g", notes);
    onA.mutate((c) => c.increment(1));
    onB.mutate((m) => m.set("k", "v"));
    await b.connect("memory:/a");
    await expect
      .poll(() => grove.notices.filter(({ code }) => code === "TYPE_CONFLICT").map(({ peer }) => peer))
      .toEqual(expect.arrayContaining(["a", "b"]));
    expect(onA.value()).toBe(1);
    expect(onB.value()).toEqual({ k: "v" });
  });
});

describe("delete", () => {
  it("holds on every node, after a restart, and against a peer that was away", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const a = await grove.start("a", [], { storage });
    const b = await grove.start("b", ["a"]);
    const c = await grove.start("c", ["a", "b"]);
    const onA = await a.open("g", gCounter);
    onA.mutate((g) => g.increment(1));
    await grove.converged();
    const awayStorage = memoryStorage();
    await grove.stop("c");
    expect(c.id).toBe("c");
    const away = await grove.start("away", [], { storage: awayStorage });
    (await away.open("g", gCounter)).mutate((g) => g.increment(5));
    await b.delete("g");
    await expect.poll(() => a.group("g")?.phase).toBe("deleted");
    expect(() => onA.value()).toThrow(/deleted/);
    expect(() => onA.mutate((g) => g.increment(1))).toThrow(/deleted/);
    await expect(a.open("g", gCounter)).rejects.toMatchObject({ code: "GROUP_DELETED" });
    await grove.stop("a");
    const again = await grove.start("a", ["b"], { storage });
    expect([...again.groups()]).toEqual([]);
    expect([...again.countGroups()]).toEqual([["", 0]]);
    await away.connect("memory:/a");
    await grove.converged();
    expect(away.group("g")?.phase).toBe("deleted");
    expect(again.group("g")?.phase).toBe("deleted");
  });

  it("then recreate starts the next epoch, on every node", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    (await a.open("g", gCounter)).mutate((c) => c.increment(1));
    await grove.converged();
    await a.delete("g");
    await a.delete("g");
    const anew = await a.open("g", notes, { recreate: true });
    anew.mutate((m) => m.set("k", "v"));
    await grove.converged();
    expect(b.group("g")).toMatchObject({ epoch: 3, type: notes.name });
    expect((await b.open("g", notes)).value()).toEqual({ k: "v" });
  });

  it("is told to every handle, once, also when the group was created anew before that was heard", async () => {
    await using grove = new Grove();
    const [a, b] = [await grove.start("a"), await grove.start("b", ["a"])];
    const [onA, onB, closed, stopped] = [
      await a.open("g", gCounter),
      await b.open("g", gCounter),
      await b.open("g", gCounter),
      await b.open("g", gCounter),
    ];
    const told: string[] = [];
    onA.onDelete(() => void told.push(`a ${a.group("g")?.epoch}`));
    onB.onDelete(() => void told.push(`b ${b.group("g")?.epoch}`));
    closed.onDelete(() => void told.push("closed"));
    closed.close();
    stopped.onDelete(() => void told.push("stopped"))();
    await onA.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    expect(told).toEqual([]);
    await a.delete("g");
    await expect.poll(() => told).toEqual(["a 2", "b 2"]);
    const anew = await a.open("g", gCounter, { recreate: true });
    await anew.mutate((c) => c.increment(5), { ack: { replicas: 1 } });
    expect([onA.value(), onB.value(), told.length]).toEqual([5, 5, 2]);
    grove.network.partition("a", "b");
    grove.network.reset("a", "b");
    await a.delete("g");
    await a.open("g", gCounter, { recreate: true });
    grove.network.heal();
    await expect.poll(() => told.slice(2)).toEqual(["a 4", "b 5"]);
    expect(onB.value()).toBe(0);
  });

  it("and a new start reach a peer that was away at once, not after a question more", async () => {
    await using grove = new Grove();
    const [a, b] = [await grove.start("a"), await grove.start("b", ["a"])];
    (await a.open("doc", gCounter)).mutate((c) => c.increment(1));
    await grove.converged();
    grove.network.partition("a", "b");
    grove.network.reset("a", "b");
    await a.delete("doc");
    (await a.open("doc", gCounter, { recreate: true })).mutate((c) => c.increment(100));
    grove.network.heal();
    await expect.poll(() => b.peers().length).toBe(1);
    await grove.converged(800);
    expect((await b.open("doc", gCounter)).value()).toBe(100);
  });

  it("ends only when it is on stable storage, also for those who delete once more meanwhile", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(new SimulatedDisk().backend());
    const commits = gate();
    const storage = altered(backing, {
      commit: async (commit, options) => {
        if ((commit.deletions ?? []).length > 0) await commits.opened;
        await backing.commit(commit, options);
      },
    });
    const node = await grove.start("a", [], { storage });
    await (await node.open("c", gCounter)).mutate((c) => c.increment(1));
    let done = 0;
    const erase = (): Promise<number> => node.delete("c").then(() => done++);
    const erased = [erase(), erase()];
    await new Promise((resolve) => setTimeout(resolve, 20));
    erased.push(erase());
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(done).toBe(0);
    commits.open();
    await Promise.all(erased);
    await node.delete("c");
  });

  it("ends an open under way, and there is nothing to verify or collect", async () => {
    await using grove = new Grove();
    const backend = new SimulatedDisk().backend();
    const first = await grove.start("a", [], { storage: backend });
    await (await first.open("c", gCounter)).mutate((c) => c.increment(1));
    await grove.stop("a");
    const backing = createGroupStore(backend);
    const loads = gate();
    const storage = altered(backing, { load: async (id) => await loads.opened.then(() => backing.load(id)) });
    const node = await grove.start("a", [], { storage, rosters: { "": ["a"] } });
    const opened = node.open("c", gCounter).catch((error: unknown) => error);
    await Promise.resolve();
    expect(node.group("c")?.phase).toBe("loading");
    await node.delete("c");
    expect(await opened).toMatchObject({ code: "GROUP_DELETED" });
    for (const question of [node.verify("c"), node.collect("c")]) {
      await expect(question).rejects.toMatchObject({ code: "GROUP_DELETED" });
    }
    loads.open();
  });

  it("of an unknown group is an error", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    await expect(node.delete("nothing")).rejects.toMatchObject({ code: "UNKNOWN_GROUP" });
  });
});

describe("snapshots", () => {
  it("are taken on an interval and at a graceful stop", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const node = await grove.start("a", [], { storage, snapshotIntervalMs: 50 });
    const counter = await node.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await expect.poll(() => counter.status.snapshotBytes).toBeGreaterThan(0);
    counter.mutate((c) => c.increment(1));
    await grove.stop("a");
    const store = createGroupStore(storage);
    await store.open();
    expect((await store.load("c"))?.snapshot?.vector.total()).toBe(2);
    await store.close();
  });
});

describe("a group that nobody has open", () => {
  it("is unloaded once stored, keeps its digest, and comes back on demand and for incoming events", async () => {
    await using grove = new Grove();
    const idle = { idleGraceMs: 50, snapshotIntervalMs: 20, storage: memoryStorage() };
    const a = await grove.start("a", [], idle);
    const b = await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    const onB = await b.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await grove.converged();
    const digest = counter.digest();
    counter.close();
    await expect.poll(() => a.group("c")?.phase).toBe("stored");
    expect(a.group("c")?.digest).toBe(digest);
    onB.mutate((c) => c.increment(1));
    await grove.converged();
    await expect.poll(() => a.group("c")?.phase).toBe("stored");
    const again = await a.open("c", gCounter);
    expect(again.value()).toBe(2);
    again.mutate((c) => c.increment(1));
    await grove.converged();
    expect(onB.value()).toBe(3);
    expect(Object.keys(a.group("c")?.vector ?? {})).toHaveLength(2);
  });

  it("is as if it had never been opened when it was never written to, with its type and its place", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { limits: { groupsMax: 1 }, heartbeatMs: 20, storage: memoryStorage() });
    for (let index = 0; index < 50; index++) {
      const [first, second] = [await a.open(`c${index}`, gCounter), await a.open(`c${index}`, gCounter)];
      first.close();
      expect(a.group(`c${index}`)).toMatchObject({ phase: "active", events: 0 });
      expect(() => second.mutate((c) => c.increment(-1))).toThrow(RangeError);
      second.close();
      expect(a.group(`c${index}`)).toBeUndefined();
      expect([...a.groups({ deleted: true })]).toEqual([]);
      expect(a.countGroups().get("") ?? 0).toBe(0);
    }
    await expect(a.delete("c0")).rejects.toMatchObject({ code: "UNKNOWN_GROUP" });
    const list = await a.open("c0", notes);
    await list.mutate((m) => m.set("k", "v"));
    list.close();
    expect(a.group("c0")).toMatchObject({ type: notes.name, events: 1 });
    await expect(a.open("c1", gCounter)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  it("comes from a peer all the same, to whoever opens it meanwhile", async () => {
    await using grove = new Grove();
    const [a, b] = [await grove.start("a"), await grove.start("b", ["a"])];
    (await a.open("c", gCounter)).close();
    await (await b.open("c", gCounter)).mutate((c) => c.increment(2), { ack: { replicas: 1 } });
    expect(a.group("c")).toMatchObject({ events: 1 });
    const [closed, open] = [await a.open("d", gCounter), await a.open("d", gCounter)];
    closed.close();
    await (await b.open("d", gCounter)).mutate((c) => c.increment(3), { ack: { replicas: 1 } });
    expect(open.value()).toBe(3);
  });

  it("is not lost when one who opens it waits while another lets go of it", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const openings = Array.from({ length: 20 }, async (_, index) => {
      const counter = await a.open("c", gCounter);
      if (index % 2 === 1) counter.mutate((c) => c.increment(1));
      counter.close();
    });
    await Promise.all(openings);
    expect((await a.open("c", gCounter)).value()).toBe(10);
  });
});

describe("a node", () => {
  it("fails with CLOSED once closed, and closes twice", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("c", gCounter);
    await node.close();
    await node.close();
    expect(() => counter.value()).toThrow(/closed/);
    await expect(node.open("c", gCounter)).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("rejects options and ids that make no sense, naming them", async () => {
    await using grove = new Grove();
    await expect(grove.start("a", [], { syncIntervalMs: 0 })).rejects.toMatchObject({
      code: "INVALID_OPTIONS",
      message: expect.stringContaining("syncIntervalMs"),
    });
    const node = await grove.start("b");
    await expect(node.open("", gCounter)).rejects.toMatchObject({ code: "INVALID_GROUP_ID" });
  });
});

describe("the list of groups", () => {
  it("is in the order of the keys when asked for, behind a group, and without those that were deleted", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", []);
    for (const id of ["b", "c", "a", ["w", 1], ["w", 2]]) await node.open(id, gCounter);
    await node.delete("c");
    const ids = (options: Parameters<typeof node.groups>[0]): unknown[] =>
      [...node.groups(options)].map(({ id }) => id);
    expect(ids({ sorted: true })).toEqual(["a", "b", ["w", 1], ["w", 2]]);
    expect(ids({ sorted: true, after: "a" })).toEqual(["b", ["w", 1], ["w", 2]]);
    expect(ids({ sorted: true, after: ["w", 1], prefix: ["w"] })).toEqual([["w", 2]]);
    expect(ids({ sorted: true, after: "a", deleted: true })).toContain("c");
  });

  it("has the groups that there are, also when one came for each that is known no more", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", []);
    const ids = (): unknown[] => [...node.groups({ sorted: true })].map(({ id }) => id);
    await node.open("b", gCounter);
    const blank = await node.open("a", gCounter);
    expect(ids()).toEqual(["a", "b"]);
    blank.close();
    await node.open("c", gCounter);
    expect(ids()).toEqual(["b", "c"]);
    await node.open("a", gCounter);
    expect(ids()).toEqual(["a", "b", "c"]);
  });

  it("is of the domains that are asked for, in the same order", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", []);
    const all = ["b", "s", [-1, "x"], [3], ["v", 1], ["w", 1], ["w", "x"], ["w2"], ["x"]] as const;
    for (const id of all.toReversed()) await node.open(id, gCounter);
    const ids = (options: Parameters<typeof node.groups>[0]): unknown[] =>
      [...node.groups({ sorted: true, ...options })].map(({ id }) => id);
    for (const domains of [[""], ["w"], ["x", "v", "x"], ["w", ""], ["", "v", "w", "w2", "x"], ["y"], []]) {
      const wanted = all.filter((id) => domains.includes(domainOf(id)));
      expect(ids({ domains })).toEqual(wanted);
      expect(new Set([...node.groups({ domains })].map(({ id }) => id))).toEqual(new Set(wanted));
      for (const after of all) {
        expect(ids({ domains, after })).toEqual(wanted.filter((id) => encodeGroupId(id) > encodeGroupId(after)));
      }
    }
    expect(ids({ domains: ["w", ""], prefix: ["w"] })).toEqual([
      ["w", 1],
      ["w", "x"],
    ]);
    expect(ids({ domains: ["w", ""], prefix: "s" })).toEqual(["s"]);
    expect(ids({ domains: ["w", ""], prefix: [] })).toEqual([[-1, "x"], [3], ["w", 1], ["w", "x"]]);
    expect(ids({ domains: ["v"], prefix: ["w"] })).toEqual([]);
  });

  it("has groups that are new while it is taken page by page, if they come behind", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", []);
    const next = (after?: string): unknown => {
      for (const { id } of node.groups({ sorted: true, ...(after === undefined ? {} : { after }) })) return id;
      return undefined;
    };
    for (const id of ["b", "d"]) await node.open(id, gCounter);
    expect([next(), next("b")]).toEqual(["b", "d"]);
    for (const id of ["a", "c"]) await node.open(id, gCounter);
    expect([next(), next("b"), next("c"), next("d")]).toEqual(["a", "c", "d", undefined]);
    await node.delete("c");
    expect(next("b")).toBe("d");
  });
});
