import { actorFromBytes, gCounter } from "@coppice/crdt";
import { memoryStorage } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import { PROTOCOL_VERSION } from "./core/messages.ts";
import { Ghost, Grove, gossip, increments, notes, words } from "./nodes.test-support.ts";

describe("three nodes", () => {
  for (const [name, faults] of Object.entries({
    loss: { loss: 0.3 },
    duplication: { duplication: 0.5 },
    reordering: { reordering: 0.5, delayMs: [0, 5] as const },
    everything: { loss: 0.2, duplication: 0.2, reordering: 0.3, delayMs: [0, 10] as const },
  })) {
    it(`converge under ${name}`, async () => {
      await using grove = new Grove({ seed: 3 });
      const nodes = [await grove.start("a"), await grove.start("b", ["a"]), await grove.start("c", ["a", "b"])];
      const groups = await Promise.all(nodes.map((node) => node.open(["words", "w"], words)));
      grove.network.setFaults(faults);
      for (let round = 0; round < 60; round++) {
        const [index, group] = [round % 3, groups[round % 3]];
        group?.mutate((g) => {
          g.words.at(`w${round % 7}`).increment(1);
          g.total.increment(1);
          g.position.at(`n${index}`).set(round);
          if (round % 10 === 9) g.words.delete(`w${round % 5}`);
        });
        if (round % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      grove.network.clearFaults();
      await grove.converged();
      const [first, ...others] = groups.map((group) => group.value());
      expect(first?.total).toBe(60);
      for (const other of others) expect(other).toEqual(first);
      expect(new Set(groups.map((group) => group.contentHash())).size).toBe(1);
    });
  }

  it("are told at once of events that waited for others, by whom they hear neither from nor of", async () => {
    await using grove = new Grove();
    const rarely = { syncIntervalMs: 2 ** 31 - 1 };
    const a = await grove.start("a", [], rarely);
    const b = await grove.start("b", ["a"], rarely);
    const [near, far] = [new Ghost(grove, "near"), new Ghost(grove, "far")];
    await Promise.all([near.haunt("a"), far.haunt("a")]);
    await b.connect("memory:/near");
    near.say({ kind: "hello", protocol: PROTOCOL_VERSION, heard: true, domains: undefined });
    // Until a knows that b hears it.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const [first, second] = [1, 2].map((byte) => actorFromBytes(new Uint8Array(16).fill(byte)));
    if (first === undefined || second === undefined) throw new TypeError("two actors");
    far.say(gossip("c", increments(second, 1, 1, [{ actor: first, seq: 1 }])));
    await expect.poll(() => a.group("c")?.pendingEvents).toBe(1);
    near.say(gossip("c", increments(first, 1, 1)));
    await expect.poll(() => b.group("c")?.events).toBe(2);
  });

  it("converge after a partition in which all of them wrote", async () => {
    await using grove = new Grove();
    const nodes = [await grove.start("a"), await grove.start("b", ["a"]), await grove.start("c", ["a", "b"])];
    const groups = await Promise.all(nodes.map((node) => node.open("m", notes)));
    groups[0]?.mutate((m) => m.set("before", "1"));
    await grove.converged();
    grove.network.partition("a", "b");
    grove.network.partition("a", "c");
    groups[0]?.mutate((m) => m.set("side", "a"));
    groups[1]?.mutate((m) => m.set("side", "b"));
    groups[2]?.mutate((m) => m.delete("before"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(groups[0]?.read((m) => m.get("before"))).toBe("1");
    grove.network.heal();
    await grove.converged();
    expect(groups.map((group) => group.read((m) => m.has("before")))).toEqual([false, false, false]);
    expect(new Set(groups.map((group) => group.read((m) => m.get("side")))).size).toBe(1);
  });
});

describe("a line of five", () => {
  it("carries an event from end to end by gossip, not by the next comparison", async () => {
    await using grove = new Grove();
    const quiet = { syncIntervalMs: 600_000 };
    const names = ["a", "b", "c", "d", "e"];
    for (const [index, name] of names.entries()) {
      await grove.start(name, index === 0 ? [] : [names[index - 1] ?? ""], quiet);
    }
    const [first, , , , last] = grove.nodes();
    const start = await first?.open("c", gCounter);
    const end = await last?.open("c", gCounter);
    start?.mutate((c) => c.increment(1));
    await expect.poll(() => end?.value(), { timeout: 500 }).toBe(1);
    end?.mutate((c) => c.increment(1));
    await expect.poll(() => start?.value(), { timeout: 500 }).toBe(2);
  });

  it("heals a cut in the middle at once, not an interval a hop", async () => {
    await using grove = new Grove();
    const quiet = { syncIntervalMs: 600_000 };
    const names = ["a", "b", "c", "d", "e"];
    for (const [index, name] of names.entries()) {
      await grove.start(name, index === 0 ? [] : [names[index - 1] ?? ""], quiet);
    }
    const [first, , , , last] = grove.nodes();
    const start = await first?.open("c", gCounter);
    const end = await last?.open("c", gCounter);
    start?.mutate((c) => c.increment(1));
    await grove.converged();
    grove.network.partition("b", "c");
    grove.network.reset("b", "c");
    start?.mutate((c) => c.increment(1));
    end?.mutate((c) => c.increment(1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(start?.value()).toBe(2);
    grove.network.heal();
    await grove.converged();
    expect([start?.value(), end?.value()]).toEqual([3, 3]);
  });
});

describe("a full mesh", () => {
  it("carries each event once to each node", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const c = await grove.start("c", ["a", "b"]);
    await Promise.all([a, b, c].map((node) => node.open("c", gCounter)));
    await new Promise((resolve) => setTimeout(resolve, 150));
    const before = b.peers().map(({ id, bytesIn }) => [id, bytesIn] as const);
    const counter = await a.open("c", gCounter);
    for (let i = 0; i < 50; i++) {
      counter.mutate((g) => g.increment(1));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await grove.converged();
    expect(b.peers().find(({ id }) => id === "a")?.events).toBe(50);
    const fromC = before.find(([id]) => id === "c")?.[1] ?? 0;
    const grown = (b.peers().find(({ id }) => id === "c")?.bytesIn ?? 0) - fromC;
    expect(grown).toBeLessThan(50 * 20);
    expect(c.group("c")?.events).toBe(50);
  });
});

describe("a node that starts empty", () => {
  it("gets every group, also states of several frames", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { limits: { tailBytesMax: 1024 } });
    const big = await a.open("big", notes);
    for (let i = 0; i < 4000; i++) big.mutate((m) => m.set(`key ${i}`, "x".repeat(200)));
    for (let i = 0; i < 300; i++) (await a.open(["many", i], gCounter)).mutate((c) => c.increment(i + 1));
    const b = await grove.start("b", ["a"]);
    await grove.converged();
    const copy = await b.open("big", notes);
    await copy.synced();
    expect(copy.read((m) => m.size)).toBe(4000);
    expect((await b.open(["many", 299], gCounter)).value()).toBe(300);
  });

  it("can tell an empty group from one that is not yet here", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    (await a.open("known", gCounter)).mutate((c) => c.increment(3));
    const b = await grove.start("b", ["a"]);
    const known = await b.open("known", gCounter);
    await known.synced();
    expect(known.value()).toBe(3);
    const fresh = await b.open("fresh", gCounter);
    await fresh.synced();
    expect(fresh.value()).toBe(0);
    const alone = await grove.start("alone");
    await (await alone.open("x", gCounter)).synced();
  });

  it.each([1, 300])(
    "is synced once it has all of a group that it opened before it was linked, of %i",
    async (groups) => {
      await using grove = new Grove();
      const writers = [await grove.start("a", [], { limits: { tailBytesMax: 1024 } }), await grove.start("b", ["a"])];
      for (const writer of writers) {
        for (let i = 0; i < groups; i++) {
          const group = await writer.open(["list", i], notes);
          group.mutate((m) => m.set(writer.id, "x"));
          if (i === 0) for (let j = 0; j < 500; j++) group.mutate((m) => m.set(`${writer.id} ${j}`, "y".repeat(1000)));
        }
      }
      await grove.converged();
      grove.network.setFaults({ delayMs: [0, 5] });
      const late = await grove.start("late");
      const replicas = await Promise.all([0, groups - 1].map((i) => late.open(["list", i], notes)));
      const linked = late.connect("memory:/a");
      const first = replicas[0]?.synced().then(() => replicas[0]?.read((m) => m.size));
      const last = replicas[1]?.synced().then(() => replicas[1]?.read((m) => [m.get("a"), m.get("b")]));
      expect(await first).toBe(1002);
      expect(await last).toEqual(["x", "x"]);
      await linked;
    },
  );

  it.each([0, 1])(
    "is not synced by a part of what its peers answer, nor by what %i of them writes meanwhile",
    async (busy) => {
      await using grove = new Grove();
      const limits = { tailBytesMax: 64 * 1024 * 1024 };
      const writers = [await grove.start("a", [], { limits })];
      for (const name of ["b", "c"]) writers.push(await grove.start(name, ["a"], { limits }));
      const replicas = await Promise.all(writers.map((writer) => writer.open("list", notes)));
      for (let i = 0; i < 500; i++) {
        for (const [at, replica] of replicas.entries()) replica.mutate((m) => m.set(`${at} ${i}`, "y".repeat(1000)));
      }
      await grove.converged();
      grove.network.setFaults({ bytesPerSecond: 2_000_000 });
      const late = await grove.start("late");
      const replica = await late.open("list", notes);
      const linked = late.connect("memory:/a");
      let count = 0;
      const write = (): unknown => replicas.slice(0, busy).map((own) => own.mutate((m) => m.set("busy", `${count++}`)));
      const writing = setInterval(write, 1);
      await replica.synced();
      clearInterval(writing);
      expect(replica.read((m) => m.size)).toBeGreaterThanOrEqual(1500);
      await linked;
    },
  );

  it("is synced at once with a peer that has nothing either, whichever of the two has the higher id", async () => {
    await using grove = new Grove();
    const options = { syncIntervalMs: 1_000_000 };
    for (const [early, late] of [
      ["a", "b"],
      ["d", "c"],
    ] as const) {
      await grove.start(early, [], options);
      const node = await grove.start(late, [], options);
      const group = await node.open(["list", late], notes);
      await node.connect(`memory:/${early}`);
      await group.synced({ signal: AbortSignal.timeout(1500) });
      expect(group.value()).toEqual({});
    }
  });

  it("waits for nobody who has other interests", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const first = await grove.start("a", [], { storage });
    (await first.open(["shop", 1], gCounter)).mutate((c) => c.increment(3));
    await grove.stop("a");
    await grove.start("b", [], { domains: ["other"] });
    const again = await grove.start("a", ["b"], { storage });
    const group = await again.open(["shop", 1], gCounter);
    await group.synced({ signal: AbortSignal.timeout(4000) });
    expect(group.value()).toBe(3);
  });

  it("keeps and relays groups of a type that it has no code for, and reads them once it has", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"], { types: [] });
    const c = await grove.start("c", ["b"]);
    const onA = await a.open("m", notes);
    onA.mutate((m) => m.set("k", "v"));
    await grove.converged();
    expect(b.group("m")).toMatchObject({ type: notes.name, isKnownType: false });
    expect(grove.notices.map(({ code }) => code)).toContain("UNKNOWN_TYPE");
    expect((await c.open("m", notes)).read((m) => m.get("k"))).toBe("v");
    const onB = await b.open("m", notes);
    expect(onB.value()).toEqual({ k: "v" });
    onB.mutate((m) => m.set("l", "w"));
    await expect.poll(() => onA.value()).toEqual({ k: "v", l: "w" });
  });
});

describe("many common groups of which few differ", () => {
  it("are found in bytes proportional to the difference", async () => {
    await using grove = new Grove();
    const quiet = { syncIntervalMs: 600_000, heartbeatMs: 600_000 };
    const a = await grove.start("a", [], quiet);
    const b = await grove.start("b", [], quiet);
    for (let i = 0; i < 3000; i++) (await a.open(["many", i], gCounter)).mutate((c) => c.increment(1));
    await b.connect("memory:/a");
    await grove.converged(20_000);
    await b.disconnect("a");
    for (let i = 0; i < 100; i++) (await a.open(["many", 7 * i], gCounter)).mutate((c) => c.increment(1));
    for (let i = 0; i < 50; i++) (await b.open(["many", 11 * i + 1], gCounter)).mutate((c) => c.increment(1));
    (await b.open(["many", "new"], gCounter)).mutate((c) => c.increment(1));
    await b.connect("memory:/a");
    await grove.converged(20_000);
    const [peer] = a.peers();
    const bytes = (peer?.bytesIn ?? 0) + (peer?.bytesOut ?? 0);
    // Finding 148 differing groups takes 70 to 150 bytes each, telling vectors and events some 150 more, a list 24 a group.
    expect(bytes).toBeLessThan(3000 * 24);
  });
});

describe("interest", () => {
  it("keeps other domains away from a node", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"], { domains: ["words"] });
    (await a.open(["words", "x"], gCounter)).mutate((c) => c.increment(1));
    (await a.open(["other", "x"], gCounter)).mutate((c) => c.increment(1));
    await expect.poll(() => b.group(["words", "x"])?.events).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(b.group(["other", "x"])).toBeUndefined();
    // It would show nothing of what the others have.
    await expect(b.open(["other", "x"], gCounter)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    await expect(b.open("x", gCounter)).rejects.toThrow('this node replicates the domains "words" only');
    expect([...b.groups()].map(({ domain }) => domain)).toEqual(["words"]);
  });
});
