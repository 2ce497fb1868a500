import {
  type Actor,
  type BoundedCounterMutator,
  type BoundedCounterView,
  VersionVector,
  boundedCounter,
  gCounter,
  orMap,
  parseActor,
} from "@coppice/crdt";
import { encodeGroupId } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import { Ghost, Grove } from "./nodes.test-support.ts";
import type { Replica } from "./replica.ts";

const counts = orMap(gCounter);
const options = { types: [counts], rosters: { shop: ["a", "b", "c"] } };

describe("a roster", () => {
  it("is needed for majority, all and collect", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", [], { types: [counts] });
    const group = await node.open(["shop", 1], counts);
    const write = (replicas: "majority" | "all") => () =>
      group.mutate((g) => g.at("x").increment(1), { ack: { replicas } });
    expect(write("majority")).toThrow(expect.objectContaining({ code: "NO_MEMBERSHIP" }));
    expect(write("all")).toThrow(expect.objectContaining({ code: "NO_MEMBERSHIP" }));
    await expect(node.collect(["shop", 1])).rejects.toMatchObject({ code: "NO_MEMBERSHIP" });
    expect(group.value()).toEqual({});
  });

  it("is needed to reclaim the rights of an actor that is gone", async () => {
    await using grove = new Grove();
    const node = await grove.start("a", [], { types: [boundedCounter], rosters: { shop: ["a"] } });
    const gone = parseActor("ab".repeat(16));
    const strand = async (domain: string): Promise<Replica<number, BoundedCounterMutator, BoundedCounterView>> => {
      const stock = await node.open([domain, 1], boundedCounter);
      stock.mutate((s) => s.increment(5));
      stock.mutate((s) => s.transfer(gone, 5));
      return stock;
    };
    const [closed, open] = [await strand("shop"), await strand("street")];
    expect(closed.mutate((s) => s.reclaim(gone)).result).toBe(5);
    expect(closed.read((s) => s.rights(gone))).toBe(0);
    expect(() => open.mutate((s) => s.reclaim(gone))).toThrow(expect.objectContaining({ code: "NO_MEMBERSHIP" }));
    expect(open.read((s) => s.rights(gone))).toBe(5);
  });

  it("closes the set of writers: a node that it does not name reads only", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], options);
    const stranger = await grove.start("stranger", ["a"], options);
    (await a.open(["shop", 1], counts)).mutate((g) => g.at("x").increment(1));
    const group = await stranger.open(["shop", 1], counts);
    await expect.poll(() => group.value()).toEqual({ x: 1 });
    const write = (): unknown => group.mutate((g) => g.at("x").increment(1));
    expect(write).toThrow(expect.objectContaining({ code: "NO_MEMBERSHIP" }));
    (await stranger.open(["street", 1], counts)).mutate((g) => g.at("x").increment(1));
  });

  it("gives writes of a majority and of all, this node counted in", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], options);
    const b = await grove.start("b", ["a"], options);
    await grove.start("stranger", ["a"], options);
    const group = await a.open(["shop", 1], counts);
    await group.mutate((g) => g.at("x").increment(1), { ack: { replicas: "majority" } });
    expect(b.group(["shop", 1])?.events).toBe(1);
    const all = group.mutate((g) => g.at("x").increment(1), { ack: { replicas: "all" }, timeoutMs: 200 });
    await expect(all).rejects.toMatchObject({ code: "TIMEOUT", message: expect.stringContaining("1 answered: b") });
    await grove.start("c", ["a", "b"], options);
    await group.mutate((g) => g.at("x").increment(1), { ack: { replicas: "all" } });
    expect(group.value()).toEqual({ x: 3 });
  });

  it("takes a member's word only once it was asked: one sent before may say less than is known there", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], { types: [counts], rosters: { shop: ["a", "ghost"] } });
    const onA = await a.open(["shop", 1], counts);
    onA.mutate((g) => g.at("k").increment(1));
    onA.mutate((g) => g.clear());
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    await expect.poll(() => a.peers().length).toBe(1);
    const group = { key: encodeGroupId(["shop", 1]), type: counts.name, epoch: 1 };
    const collected = a.collect(["shop", 1], { timeoutMs: 5000 });
    ghost.say({ kind: "vector", group, intent: "tell", vector: new VersionVector() });
    const all = new VersionVector(Object.entries(onA.status.vector) as [Actor, number][]);
    ghost.say({ kind: "vector", group, intent: "answer", vector: all });
    expect(await collected).toMatchObject({ collected: 1 });
  });

  it("lets every member forget what all of them know to be cancelled, and nothing before", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], options);
    const b = await grove.start("b", ["a"], options);
    const onA = await a.open(["shop", 1], counts);
    for (let i = 0; i < 20; i++) onA.mutate((g) => g.at(`k${i}`).increment(1));
    onA.mutate((g) => g.clear());
    onA.mutate((g) => g.at("kept").increment(5));
    await grove.converged();
    await expect(a.collect(["shop", 1], { timeoutMs: 100 })).rejects.toMatchObject({
      code: "TIMEOUT",
      message: expect.stringContaining("c did not say"),
    });
    const c = await grove.start("c", ["a", "b"], options);
    await grove.converged();
    expect(await a.collect(["shop", 1])).toMatchObject({ collected: 20 });
    expect(await a.collect(["shop", 1])).toMatchObject({ collected: 0 });
    const onC = await c.open(["shop", 1], counts);
    onC.mutate((g) => g.at("k1").increment(2));
    await grove.converged();
    for (const node of [a, b, c]) {
      expect((await node.open(["shop", 1], counts)).value()).toEqual({ k1: 2, kept: 5 });
    }
    expect(await b.collect(["shop", 1])).toMatchObject({ collected: expect.any(Number) });
    expect((await b.verify(["shop", 1])).divergent).toEqual([]);
  });
});
