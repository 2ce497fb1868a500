import { getEventListeners } from "node:events";
import { gCounter } from "@coppice/crdt";
import { memoryStorage } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import type { Node } from "./node.ts";
import { Ghost, Grove } from "./nodes.test-support.ts";

describe("membership", () => {
  it("names the members of a group, and tells who joins and leaves", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const seen: string[] = [];
    const stop = a.onPeer((event, peer) => seen.push(`${event} ${peer}`));
    await grove.start("b", ["a"]);
    await grove.start("c", ["a"], { domains: ["elsewhere"] });
    await a.open(["here", 1], gCounter);
    await expect.poll(() => a.peers().every(({ lastSyncAt }) => lastSyncAt >= 0) && a.peers().length).toBe(2);
    await expect.poll(() => a.members(["here", 1])).toEqual(["a", "b"]);
    expect([...a.randomPeers(5)].sort((x, y) => (x < y ? -1 : 1))).toEqual(["b", "c"]);
    expect(a.randomPeers(1)).toHaveLength(1);
    await grove.stop("b");
    await expect.poll(() => seen).toEqual(["join b", "join c", "leave b"]);
    stop();
    expect(() => a.members("unknown")).toThrow(/no group/);
  });

  it("dials the peers of the last run again", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    await grove.start("a", [], { storage });
    await grove.start("b", ["a"]);
    await expect.poll(() => grove.nodes()[0]?.peers().length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await grove.stop("a");
    await grove.stop("b");
    await grove.start("b");
    const again = await grove.start("a", [], { storage });
    await expect.poll(() => again.peers().map(({ id }) => id)).toEqual(["b"]);
  });
});

describe("peer exchange", () => {
  const peersOf = (node: Node): string[] =>
    node
      .peers()
      .map(({ id }) => id)
      .toSorted();

  it("links those who know one member with all others", async () => {
    await using grove = new Grove({ peerExchange: true });
    const nodes = [await grove.start("a"), await grove.start("b", ["a"]), await grove.start("c", ["a"])];
    nodes.push(await grove.start("d", ["c"]));
    for (const node of nodes) await expect.poll(() => peersOf(node)).toHaveLength(3);
    await grove.stop("a");
    for (const node of nodes.slice(1)) await expect.poll(() => peersOf(node)).toHaveLength(2);
  });

  it("leaves alone those who share no domain, and whoever does not want it", async () => {
    await using grove = new Grove({ peerExchange: true });
    await grove.start("hub");
    const fruit = await grove.start("fruit", ["hub"], { domains: ["fruit", "both"] });
    const stone = await grove.start("stone", ["hub"], { domains: ["stone"] });
    const loner = await grove.start("loner", ["hub"], { peerExchange: false, domains: ["none"] });
    const both = await grove.start("both", ["hub"], { domains: ["both", "stone"] });
    await expect.poll(() => peersOf(both)).toEqual(["fruit", "hub", "stone"]);
    // Each side sees a link when it hears of it.
    await expect.poll(() => [fruit, stone, loner].map(peersOf)).toEqual([["both", "hub"], ["both", "hub"], ["hub"]]);
  });
});

describe("open", () => {
  it("asks peers for a while only, and leaves nothing behind at its signal", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    await new Ghost(grove, "silent").haunt("a");
    await expect.poll(() => node.peers().length).toBe(1);
    const { signal } = new AbortController();
    await node.open("c", gCounter, { signal });
    expect(getEventListeners(signal, "abort")).toEqual([]);
    const abort = new AbortController();
    const opened = node.open("d", gCounter, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(opened).rejects.toThrow("enough");
  });
});

describe("verify", () => {
  it("has nothing to compare with when no peer is linked", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", [], { rosters: { "": ["a"] } });
    await (await node.open("c", gCounter)).mutate((counter) => counter.increment());
    expect((await node.verify("c")).peers.size).toBe(0);
    expect(await node.collect("c")).toMatchObject({ collected: 0 });
  });

  it("compares events and content with every peer, loading the group there", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await grove.converged();
    const report = await a.verify("c");
    expect([...report.peers]).toEqual([["b", "equal"]]);
    expect(report).toMatchObject({ divergent: [], digest: counter.digest() });
  });

  it("names a peer that holds another content for the same events", async () => {
    await using grove = new Grove();
    const wrong = {
      ...gCounter,
      canonical: (_state: unknown, writer: { byte(value: number): void }) => writer.byte(1),
    };
    const a = await grove.start("a");
    await grove.start("b", ["a"], { types: [wrong] });
    const counter = await a.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await grove.converged();
    expect(await a.verify("c")).toMatchObject({ divergent: ["b"] });
  });

  it("does not wait for ever for a peer that is silent", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    await grove.start("b", ["a"]);
    await a.open("c", gCounter);
    grove.network.partition("a", "b");
    expect((await a.verify("c", { timeoutMs: 50 })).peers.size).toBe(0);
  });
});

describe("broadcasts", () => {
  it("reach every other node of the group once and in order, over others too, and are not stored", async () => {
    await using grove = new Grove();
    const options = { peerExchange: false };
    const a = await grove.start("a", [], options);
    const b = await grove.start("b", ["a"], options);
    const c = await grove.start("c", ["a", "b"], options);
    const d = await grove.start("d", ["b", "c"], options);
    const [onA, onB, onC, onD] = await Promise.all([a, b, c, d].map((node) => node.open("doc", gCounter)));
    onA?.mutate((counter) => counter.increment(1));
    await grove.converged();
    const heard = [onA, onB, onC, onD].map((replica) => {
      const messages: string[] = [];
      replica?.onBroadcast((message, from) => void messages.push(`${from}${message.join()}`));
      return messages;
    });
    for (const byte of [1, 2, 3]) expect(onA?.broadcast(Uint8Array.of(byte))).toBe(true);
    onD?.broadcast(Uint8Array.of(4));
    await expect.poll(() => heard.map((messages) => messages.length)).toEqual([1, 4, 4, 3]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ofA = ["a1", "a2", "a3"];
    const expected = [["d4"], [...ofA, "d4"], [...ofA, "d4"], ofA];
    expect(heard.map((messages) => messages.toSorted((x, y) => (x < y ? -1 : 1)))).toEqual(expected);
    expect(heard[1]?.filter((message) => message.startsWith("a"))).toEqual(ofA);
    expect(d.group("doc")?.events).toBe(1);
  });

  it("of a node that restarted are heard, and handles that are closed hear nothing", async () => {
    await using grove = new Grove();
    const b = await grove.start("b");
    const onB = await b.open("doc", gCounter);
    const [heard, unheard]: number[][] = [[], []];
    onB.onBroadcast((message) => void heard?.push(...message));
    const closed = await b.open("doc", gCounter);
    closed.onBroadcast((message) => void unheard?.push(...message));
    closed.close();
    for (const byte of [1, 2]) {
      const a = await grove.start("a", ["b"]);
      const onA = await a.open("doc", gCounter);
      await expect.poll(() => (a.members("doc").length > 1 ? onA.broadcast(Uint8Array.of(byte)) : false)).toBe(true);
      await expect.poll(() => heard).toContain(byte);
      grove.crash("a");
    }
    expect(unheard).toEqual([]);
    expect(() => closed.broadcast(Uint8Array.of(1))).toThrow(/closed/);
  });

  it("are bounded in size and rate", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const group = await node.open("doc", gCounter);
    expect(() => group.broadcast(new Uint8Array(65_537))).toThrow(RangeError);
    let taken = 0;
    while (taken < 100 && group.broadcast(new Uint8Array(65_536))) taken++;
    expect(taken).toBeGreaterThanOrEqual(63);
    expect(taken).toBeLessThan(100);
  });
});

describe("presence", () => {
  it("is told to the others at once, relayed, and gone with the node; never stored", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    const a = await grove.start("a", [], { storage });
    const b = await grove.start("b", ["a"]);
    const c = await grove.start("c", ["b"]);
    const [onA, onB, onC] = await Promise.all([a, b, c].map((node) => node.open("doc", gCounter)));
    let told = 0;
    onC?.presence.subscribe(() => void told++);
    onA?.presence.set({ name: "ann", at: 3 });
    onC?.presence.set({ name: "cid" });
    await expect.poll(() => onC?.presence.states().get("a")).toEqual({ name: "ann", at: 3 });
    expect(told).toBeGreaterThan(0);
    await expect
      .poll(() => [...(onB?.presence.states().keys() ?? [])].sort((x, y) => (x < y ? -1 : 1)))
      .toEqual(["a", "c"]);
    onA?.presence.clear();
    await expect.poll(() => onC?.presence.states().has("a")).toBe(false);
    onC?.close();
    await expect.poll(() => onB?.presence.states().size).toBe(0);
    expect(a.group("doc")?.events).toBe(0);
  });

  it("of a node that died is forgotten, and does not come back by a peer that still has it", async () => {
    await using grove = new Grove();
    let later = 0;
    const now = (): number => Date.now() + later;
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"], { now, peerExchange: false });
    const c = await grove.start("c", ["a"], { peerExchange: false });
    const [onA, onB, onC] = await Promise.all([a, b, c].map((node) => node.open("doc", gCounter)));
    onA?.presence.set("here");
    for (const replica of [onB, onC]) await expect.poll(() => replica?.presence.states().get("a")).toBe("here");
    grove.crash("a");
    later = 20_000;
    await expect.poll(() => onB?.presence.states().size).toBe(0);
    // It is told what another still has, as every node that links is.
    await b.connect("memory:/c");
    onC?.presence.set("c");
    await expect.poll(() => onB?.presence.states().has("c")).toBe(true);
    expect(onC?.presence.states().has("a")).toBe(true);
    expect(onB?.presence.states().has("a")).toBe(false);
  });

  it("reaches each node of a full mesh once", async () => {
    await using grove = new Grove();
    const names = ["a", "b", "c", "d", "e", "f"];
    const nodes: Node[] = [];
    for (const [index, name] of names.entries()) nodes.push(await grove.start(name, names.slice(0, index)));
    const groups = await Promise.all(nodes.map((node) => node.open("doc", gCounter)));
    const received = (): number[] => nodes.map((node) => node.peers().reduce((sum, { bytesIn }) => sum + bytesIn, 0));
    // Everybody has told whom it hears.
    await expect.poll(() => nodes.every((node) => node.peers().length === 5)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = received();
    groups[0]?.presence.set("x".repeat(4000));
    for (const group of groups) await expect.poll(() => group.presence.states().has("a")).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const extra = received().map((bytes, index) => bytes - (before[index] ?? 0));
    for (const bytes of extra) expect(bytes).toBeLessThan(2 * 4000);
  });

  it("ends with its group", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const [onA, onB] = await Promise.all([a, b].map((node) => node.open("doc", gCounter)));
    onA?.presence.set("a");
    onB?.presence.set("b");
    await expect.poll(() => [onA, onB].map((group) => group?.presence.states().size)).toEqual([2, 2]);
    await a.delete("doc");
    await expect.poll(() => [onA, onB].map((group) => group?.presence.states().size)).toEqual([0, 0]);
  });

  it("refuses a state that is too large or no value", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const group = await node.open("doc", gCounter);
    expect(() => group.presence.set("x".repeat(5000))).toThrow(RangeError);
    expect(() => group.presence.set((() => {}) as never)).toThrow(TypeError);
  });
});
