import { describe, expect, it } from "vitest";
import { createActor } from "./actor.ts";
import { type BoundedCounterMutator, boundedCounter } from "./bounded-counter.ts";
import { expectGolden, toHex } from "./golden.test-support.ts";
import { orMap } from "./or-map.ts";
import { Random, assertConvergent, createReplicas, crdtSuite, randomHistory, syncAll } from "./testing/index.ts";
import { type TreeMutator, tree } from "./tree.ts";

const actors = [1, 2, 3, 4].map((node) => createActor(new Uint8Array(8).fill(node), new Uint8Array(8).fill(node)));

const spending = [
  (counter: BoundedCounterMutator, random: Random): unknown => {
    const amount = random.below(6);
    counter.increment(amount);
    return amount;
  },
  (counter: BoundedCounterMutator, random: Random): unknown => {
    const amount = 1 + random.below(4);
    return attempt(() => counter.decrement(amount)) ? -amount : 0;
  },
  (counter: BoundedCounterMutator, random: Random): unknown => {
    attempt(() => counter.transfer(random.pick(actors), 1 + random.below(3)));
    return 0;
  },
];

function attempt(change: () => void): boolean {
  try {
    change();
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: "INSUFFICIENT_RIGHTS" });
    return false;
  }
}

crdtSuite({
  describe,
  it,
  type: boundedCounter,
  operations: spending,
  oracle: (events) => events.flatMap((event) => event.notes as number[]).reduce((sum, amount) => sum + amount, 0),
});

describe("the bound", () => {
  it("holds on every replica after every step, and rights add up to the value", () => {
    for (let seed = 1; seed <= 200; seed++) {
      randomHistory({ type: boundedCounter, operations: spending }, new Random(seed), 40, (replica) => {
        const view = boundedCounter.view(replica.state);
        const rights = [...view.holders().values()];
        expect(replica.value()).toBeGreaterThanOrEqual(0);
        expect(Math.min(0, ...rights)).toBe(0);
        expect(rights.reduce((sum, amount) => sum + amount, 0)).toBe(replica.value());
      });
    }
  });

  it("stranded rights stay visible until somebody reclaims them", () => {
    const [a, b] = createReplicas(boundedCounter, 2);
    if (a === undefined || b === undefined) return;
    a.mutate((counter) => counter.increment(10));
    syncAll([a, b]);
    expect(() => b.mutate((counter) => counter.decrement(1))).toThrow("may take 0");
    expect([...boundedCounter.view(b.state).holders()]).toEqual([[a.actor, 10]]);
    b.mutate((counter) => expect(counter.reclaim(a.actor)).toBe(10));
    b.mutate((counter) => counter.decrement(10));
    expect([b.value(), boundedCounter.view(b.state).holders().size]).toEqual([0, 0]);
  });
});

const ids = ["a", "b", "c", "d", "e"];
const pickParent = (random: Random): string | undefined => (random.chance(0.2) ? undefined : random.pick(ids));

function tryRange(change: () => void): void {
  try {
    change();
  } catch (error) {
    expect(error).toBeInstanceOf(RangeError);
  }
}

const growing = [
  (nodes: TreeMutator<number>, random: Random) =>
    tryRange(() => nodes.create(random.pick(ids), random.below(9), pickParent(random))),
  (nodes: TreeMutator<number>, random: Random) => tryRange(() => nodes.move(random.pick(ids), pickParent(random))),
  (nodes: TreeMutator<number>, random: Random) => tryRange(() => nodes.move(random.pick(ids), pickParent(random))),
  (nodes: TreeMutator<number>, random: Random) => tryRange(() => nodes.set(random.pick(ids), random.below(9))),
  (nodes: TreeMutator<number>, random: Random) => void (random.chance(0.4) && nodes.delete(random.pick(ids))),
];

crdtSuite({ describe, it, type: tree<number>(), operations: growing });
crdtSuite({
  describe,
  it,
  runs: 30,
  type: orMap(tree<number>()),
  operations: growing.map(
    (grow) => (map: { at(key: string): TreeMutator<number> }, random: Random) => grow(map.at("t"), random),
  ),
});

describe("trees", () => {
  it("show every node exactly once, whatever is moved", () => {
    for (let seed = 1; seed <= 200; seed++) {
      randomHistory({ type: tree<number>(), operations: growing }, new Random(seed), 40, (replica) => {
        const shown: string[] = [];
        const visit = (nodes: ReturnType<typeof replica.value>): void => {
          for (const node of nodes) {
            shown.push(node.id);
            visit(node.children);
          }
        };
        visit(replica.value());
        const view = replica.type.view(replica.state) as ReturnType<ReturnType<typeof tree<number>>["view"]>;
        expect(shown.sort()).toEqual(ids.filter((id) => view.has(id)));
        expect(shown.length).toBe(view.size);
      });
    }
  });

  it("of two moves that would close a cycle, the earlier counts", () => {
    const [a, b] = createReplicas(tree<string>(), 2);
    if (a === undefined || b === undefined) return;
    a.mutate((nodes) => {
      nodes.create("home", "");
      nodes.create("x", "", "home");
      nodes.create("y", "", "home");
    });
    syncAll([a, b]);
    a.mutate((nodes) => nodes.move("x", "y"));
    b.mutate((nodes) => nodes.move("y", "x"));
    syncAll([a, b]);
    assertConvergent([a, b]);
    const view = a.type.view(a.state);
    const [earlier, later] = view.parent("x") === "y" ? ["x", "y"] : ["y", "x"];
    expect([view.parent(earlier ?? ""), view.parent(later ?? ""), view.children()]).toEqual([later, "home", ["home"]]);
  });

  it("refuse what makes no sense", () => {
    const [a] = createReplicas(tree<string>(), 1);
    a?.mutate((nodes) => {
      nodes.create("x", "1");
      nodes.create("y", "2", "x");
      expect(() => nodes.create("x", "3")).toThrow("taken");
      expect(() => nodes.create("z", "3", "no")).toThrow("no node");
      expect(() => nodes.move("x", "y")).toThrow("under itself");
      expect(() => nodes.set("no", "3")).toThrow(RangeError);
      expect(nodes.delete("no")).toBe(false);
      nodes.set("y", "4");
    });
    expect(a?.value()).toEqual([{ id: "x", value: "1", children: [{ id: "y", value: "4", children: [] }] }]);
    a?.mutate((nodes) => nodes.delete("x"));
    expect(a?.value()).toEqual([]);
  });
});

describe("the wire format of bounded counters and trees", () => {
  it("is that of the golden file", () => {
    const [a] = createReplicas(boundedCounter, 1);
    const [t] = createReplicas(tree<string>(), 1);
    if (a === undefined || t === undefined) return;
    const events = [
      a.mutate((counter) => counter.increment(10)),
      a.mutate((counter) => counter.transfer(actors[1] ?? a.actor, 4)),
      a.mutate((counter) => counter.decrement(6)),
      t.mutate((nodes) => {
        nodes.create("x", "1");
        nodes.create("y", "2", "x");
      }),
      t.mutate((nodes) => nodes.move("y")),
      t.mutate((nodes) => nodes.delete("x")),
    ];
    expectGolden("bounded-tree", {
      ...Object.fromEntries(events.map((event, index) => [`delta ${index}`, toHex(event?.delta ?? new Uint8Array())])),
      counter: toHex(a.type.encode(a.state)),
      tree: toHex(t.type.encode(t.state)),
    });
  });
});
