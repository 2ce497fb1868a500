import { type Actor, gCounter, parseActor } from "@coppice/crdt";
import { memoryStorage } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import type { Node } from "./node.ts";
import { Ghost, Grove, gossip, increments } from "./nodes.test-support.ts";

const OTHER = parseActor("0".repeat(31).concat("1"));

function codes(grove: Grove): string[] {
  return grove.notices.map(({ code }) => code);
}

function actors(node: Node): Actor[] {
  return Object.keys(node.group("c")?.vector ?? {}) as Actor[];
}

describe("an incarnation", () => {
  it("is left when a peer knows more of it than this process issued", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const counter = await a.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    const [own] = actors(a);
    if (own === undefined) throw new TypeError("it has written");
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    ghost.say(gossip("c", increments(own, 2, 1)));
    await expect.poll(() => codes(grove)).toContain("INCARNATION_REUSED");
    expect(grove.notices.find(({ code }) => code === "INCARNATION_REUSED")).toMatchObject({ group: "c" });
    counter.mutate((c) => c.increment(5));
    expect(actors(a)).toHaveLength(2);
    await ghost.leave();
    await grove.converged();
    expect((await b.open("c", gCounter)).value()).toBe(counter.value());
    expect(counter.value()).toBe(7);
  });

  it("is another after every start, so that an old copy of the data overwrites nothing", async () => {
    await using grove = new Grove();
    const storage = memoryStorage();
    for (let start = 1; start <= 3; start++) {
      const node = await grove.start("a", [], { storage });
      (await node.open("c", gCounter)).mutate((c) => c.increment(1));
      expect(actors(node)).toHaveLength(start);
      await grove.stop("a");
    }
  });

  it("is never used by two processes, and an event of one name with two contents is an alarm, once", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    await a.open("c", gCounter);
    const ghost = new Ghost(grove, "ghost");
    await ghost.haunt("a");
    ghost.say(gossip("c", increments(OTHER, 1, 1)), gossip("c", increments(OTHER, 1, 1)));
    await expect.poll(() => a.group("c")?.events).toBe(1);
    expect(codes(grove)).not.toContain("DOT_CONFLICT");
    const forged = gossip("c", increments(OTHER, 1, 1, [], 9));
    ghost.say(forged, forged);
    await expect.poll(() => codes(grove)).toContain("DOT_CONFLICT");
    expect(grove.notices.filter(({ code }) => code === "DOT_CONFLICT")).toMatchObject([{ peer: "ghost", group: "c" }]);
    await ghost.leave();
  });
});
