import { boundedCounter, gCounter } from "@coppice/crdt";
import { createGroupStore, memoryStorage } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import { ReplicationError } from "./error.ts";
import { Grove, altered, notes, words } from "./nodes.test-support.ts";
import type { ReplicaOf } from "./replica.ts";

describe("mutate", () => {
  it("applies at once and returns what the callback returned", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const views = await node.open(["counter", "views"], gCounter);
    const write = views.mutate((counter) => {
      counter.increment(5);
      return "done";
    });
    expect(write.result).toBe("done");
    expect(views.value()).toBe(5);
    expect(await write).toBe("done");
  });

  it("is all or nothing: a throw takes everything back", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const group = await node.open("g", words);
    group.mutate((g) => g.words.at("kept").increment(1));
    const digest = group.digest();
    expect(() =>
      group.mutate((g) => {
        g.words.at("kept").increment(4);
        g.words.at("lost").increment(1);
        g.position.at("a").set(9);
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(group.value()).toEqual({ words: { kept: 1 }, total: 0, position: {} });
    expect(group.digest()).toBe(digest);
    group.mutate((g) => g.words.at("kept").increment(2));
    expect(group.value().words).toEqual({ kept: 3 });
  });

  it("makes one event of one callback, and none when nothing is written", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const group = await node.open("g", words);
    group.mutate((g) => {
      for (let i = 0; i < 100; i++) g.words.at(`w${i}`).increment(1);
    });
    group.mutate((g) => g.words.get("w1"));
    expect(group.status.events).toBe(1);
  });

  it("refuses an asynchronous callback, and takes back what it did before it waited", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("g", gCounter);
    expect(() =>
      counter.mutate(async (c) => {
        c.increment(1);
        await Promise.resolve();
        c.increment(1);
      }),
    ).toThrow(TypeError);
    // What it does later is refused, too, and no unhandled rejection.
    await new Promise((resolve) => setTimeout(resolve));
    expect(counter.value()).toBe(0);
  });

  it("gives writes that can be caught as promises are", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter: ReplicaOf<typeof gCounter> = await node.open("g", gCounter);
    const options = { ack: { replicas: 1 }, timeoutMs: 1 };
    const error = counter.mutate((c) => c.increment(1), options).catch((thrown: unknown) => thrown);
    expect(await error).toBeInstanceOf(ReplicationError);
    const writes: Promise<unknown>[] = [counter.mutate((c) => c.increment(1)), counter.mutate(() => 7)];
    expect(await Promise.all(writes)).toEqual([undefined, 7]);
    let isOver = false;
    expect(await counter.mutate(() => 5).finally(() => (isOver = true))).toBe(5);
    expect(isOver).toBe(true);
  });

  it("refuses a mutator outside its callback, and a callback inside another", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("g", gCounter);
    const kept = counter.mutate((c) => c).result;
    expect(() => kept.increment(1)).toThrow(/outside/);
    expect(() => counter.mutate(() => counter.mutate((c) => c.increment(1)))).toThrow(/inside/);
    expect(counter.value()).toBe(0);
  });

  it("lets go of nothing while a callback runs: what came before it follows when it is over", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const node = await grove.start("a", [], { storage });
    const counter = await node.open("g", gCounter);
    counter.mutate((c) => c.increment(1));
    let isSynced: Promise<unknown> | undefined;
    expect(() =>
      counter.mutate((c) => {
        c.increment(2);
        isSynced = node.sync();
        throw new Error("no");
      }),
    ).toThrow("no");
    await isSynced;
    await counter.mutate((c) => {
      c.increment(4);
      void node.sync();
      c.increment(8);
    });
    await node.close();
    const again = await grove.start("a", [], { storage });
    expect((await again.open("g", gCounter)).value()).toBe(13);
  });

  it("shows within a callback what it has done by then, and nothing of it once that was taken back", async () => {
    await using grove = new Grove();
    const replica = await (await grove.start("a")).open("notes", notes);
    const act = (): void => {
      replica.mutate((m) => {
        m.set("a", "1");
        expect(replica.value()).toEqual({ a: "1" });
        m.set("b", "2");
        expect(replica.value()).toEqual({ a: "1", b: "2" });
        throw new Error("no");
      });
    };
    expect(replica.value()).toEqual({});
    expect(act).toThrow("no");
    expect(replica.value()).toEqual({});
  });

  it("keeps the value's identity until the next change", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const map = await node.open("m", notes);
    map.mutate((m) => m.set("k", "v"));
    const value = map.value();
    expect(map.value()).toBe(value);
    map.mutate((m) => m.set("k", "w"));
    expect(map.value()).not.toBe(value);
    expect(value).toEqual({ k: "v" });
    expect(map.read((m) => [m.get("k"), m.has("x"), m.size])).toEqual(["w", false, 1]);
  });
});

describe("subscriptions", () => {
  it("tell what changed, where it came from, once a tick", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const onA = await a.open("m", notes);
    const onB = await b.open("m", notes);
    const seen: unknown[] = [];
    const stop = onB.subscribe(({ origin, keys, value }) => seen.push([origin, [...keys].sort(), value]));
    onA.mutate((m) => m.set("x", "1"));
    onA.mutate((m) => m.set("y", "2"));
    await expect.poll(() => seen).toEqual([["remote", ["x", "y"], { x: "1", y: "2" }]]);
    onB.mutate((m) => m.delete("x"));
    await expect.poll(() => seen.at(-1)).toEqual(["local", ["x"], { y: "2" }]);
    stop();
    onB.mutate((m) => m.delete("y"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toHaveLength(2);
  });

  it("changes() coalesces for a slow reader and ends with the signal", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("c", gCounter);
    const abort = new AbortController();
    const changes = counter.changes({ signal: abort.signal });
    for (let i = 0; i < 10; i++) {
      counter.mutate((c) => c.increment(1));
      await Promise.resolve();
    }
    const first = await changes.next();
    expect(first.done).toBe(false);
    expect(first.value?.value).toBe(10);
    abort.abort();
    expect((await changes.next()).done).toBe(true);
  });

  it("changes() may be asked for several at once: each is answered, at the latest when it ends", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("c", gCounter);
    const changes = counter.changes();
    const [first, second] = [changes.next(), changes.next()];
    await Promise.resolve();
    counter.mutate((c) => c.increment(1));
    expect((await first).value?.value).toBe(1);
    counter.close();
    expect((await second).done).toBe(true);
  });

  it("report a subscriber that throws and serve the others", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("c", gCounter);
    let calls = 0;
    counter.subscribe(() => {
      throw new Error("mine");
    });
    counter.subscribe(() => void calls++);
    counter.mutate((c) => c.increment(1));
    await expect.poll(() => calls).toBe(1);
    expect(grove.notices.map(({ code }) => code)).toContain("SUBSCRIBER_FAILED");
  });
});

describe("acknowledgements", () => {
  it("without a journal refuse log and sync, before anything is written", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const counter = await node.open("c", gCounter);
    expect(() => counter.mutate((c) => c.increment(1), { ack: "log" })).toThrow(/ACK|journal/);
    expect(() => counter.mutate((c) => c.increment(1), { ack: { replicas: 0 } })).toThrow(/whole number/);
    expect(counter.value()).toBe(0);
  });

  it("by replicas wait for that many peers", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const c = await grove.start("c", ["a"]);
    const counter = await a.open("c", gCounter);
    await counter.mutate((g) => g.increment(1), { ack: { replicas: 2 } });
    expect(b.group("c")?.events).toBe(1);
    expect(c.group("c")?.events).toBe(1);
  });

  it("by replicas time out naming who answered, and the write stays", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    const write = counter.mutate((c) => c.increment(1), { ack: { replicas: 2 }, timeoutMs: 300 });
    await expect(write).rejects.toMatchObject({ code: "TIMEOUT", message: expect.stringMatching(/1 answered: b/) });
    expect(counter.value()).toBe(1);
  });

  it("by replicas come for a write that a peer got as a state, because it is larger than the tail", async () => {
    await using grove = new Grove();
    const options = { limits: { tailBytesMax: 1000 } };
    const a = await grove.start("a", [], options);
    const map = await a.open("m", notes);
    const write = (durable: boolean): Promise<unknown> =>
      Promise.resolve(
        map.mutate((m) => m.set("k", "x".repeat(2000)), { ack: { replicas: 1, durable }, timeoutMs: 5000 }),
      );
    const writes = Promise.all([write(false), write(true)]);
    await grove.start("b", ["a"], { ...options, storage: new SimulatedDisk().backend() });
    await writes;
  });

  it("durable ones name the peers that have the write, and no stable storage", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    const write = counter.mutate((c) => c.increment(1), { ack: { replicas: 1, durable: true }, timeoutMs: 300 });
    await expect(write).rejects.toMatchObject({
      code: "TIMEOUT",
      message: expect.stringContaining("none answered; applied, but not on stable storage, at b"),
    });
  });

  it("by replicas survive a lossy link", async () => {
    await using grove = new Grove({ seed: 7 });
    const a = await grove.start("a");
    await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    grove.network.setFaults({ loss: 0.4 });
    for (let i = 0; i < 5; i++) {
      await counter.mutate((c) => c.increment(1), { ack: { replicas: 1 }, timeoutMs: 10_000 });
    }
    grove.network.clearFaults();
    expect(counter.value()).toBe(5);
  });

  it("when the storage fails: applied, not durable; then no own writes until it takes them again", async () => {
    await using grove = new Grove();
    const backing = createGroupStore(memoryStorage());
    let isBroken = false;
    const storage = altered(backing, {
      durability: () => ({ durable: true, sync: true }),
      commit: async (commit, options) => {
        if (isBroken) throw new Error("disk full");
        return await backing.commit(commit, options);
      },
    });
    const a = await grove.start("a", [], { storage });
    const b = await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    await counter.mutate((c) => c.increment(1));
    isBroken = true;
    await expect(counter.mutate((c) => c.increment(1))).rejects.toMatchObject({ code: "APPLIED_NOT_DURABLE" });
    expect(() => counter.mutate((c) => c.increment(1))).toThrow(/refused/);
    const onB = await b.open("c", gCounter);
    await expect.poll(() => onB.value()).toBe(2);
    onB.mutate((c) => c.increment(10));
    await expect.poll(() => counter.value()).toBe(12);
    isBroken = false;
    await expect.poll(() => grove.notices.map(({ code }) => code)).toContain("STORAGE_RECOVERED");
    await counter.mutate((c) => c.increment(100));
    expect((await backing.load("c"))?.snapshot?.vector.total()).toBeGreaterThanOrEqual(3);
  });
});

describe("the actor of a replica", () => {
  it("is whom rights of a bounded counter are given to, before it has written, and is new after a restart", async () => {
    await using grove = new Grove();
    const [a, b] = [await grove.start("a"), await grove.start("b", ["a"])];
    const [stock, shop] = [await a.open("stock", boundedCounter), await b.open("stock", boundedCounter)];
    shop.presence.set(shop.actor);
    await expect.poll(() => stock.presence.states().get("b")).toBe(shop.actor);
    await stock.mutate(
      (s) => {
        s.increment(10);
        s.transfer(shop.actor, 4);
      },
      { ack: { replicas: 1 } },
    );
    expect(shop.read((s) => [s.rights(shop.actor), s.rights(stock.actor)])).toEqual([4, 6]);
    await shop.mutate((s) => s.decrement(4), { ack: { replicas: 1 } });
    expect(stock.value()).toBe(6);
    const former = shop.actor;
    await grove.stop("b");
    const again = await (await grove.start("b", ["a"])).open("stock", boundedCounter);
    expect(again.actor).not.toBe(former);
    expect(() => shop.actor).toThrow(expect.objectContaining({ code: "CLOSED" }));
  });
});

describe("close", () => {
  it("ends the handle, not the group", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const first = await node.open("c", gCounter);
    const second = await node.open("c", gCounter);
    first.mutate((c) => c.increment(1));
    first.close();
    first.close();
    expect(() => first.value()).toThrow(/closed/);
    expect(second.value()).toBe(1);
  });
});
