import { describe, expect, it } from "vitest";
import { expectGolden, toHex } from "./golden.test-support.ts";
import { endPosition, isPosition, positionBetween } from "./kernel/position.ts";
import { type Note, aliveNotes } from "./oracle.test-support.ts";
import {
  Random,
  type TestEvent,
  assertConvergent,
  createReplicas,
  crdtSuite,
  randomHistory,
  syncAll,
} from "./testing/index.ts";
import { type TreeMutator, type TreeNode, tree } from "./tree.ts";

const IDS = ["a", "b", "c"];
const TOP = "";

function attempt(change: () => Note | Note[]): Note | Note[] | undefined {
  try {
    return change();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return undefined;
  }
}

const set = (path: readonly string[], value: unknown): Note => ({ op: "set", path, value });

const move = (nodes: TreeMutator<number>, random: Random) =>
  attempt(() => {
    const id = random.pick(IDS);
    const parent = random.chance(0.1) ? undefined : random.pick(IDS);
    if (!nodes.has(id)) {
      nodes.create(id, 1);
      return [set([id, "v"], 1), set([id, "p"], [TOP, TOP])];
    }
    const from = nodes.parent(id) ?? TOP;
    nodes.move(id, parent, random.chance(0.5) ? nodes.children(parent)[0] : undefined);
    return set([id, "p"], [parent ?? TOP, from]);
  });

const operations = [
  (nodes: TreeMutator<number>, random: Random) =>
    attempt(() => {
      const [id, value] = [random.pick(IDS), random.below(9)];
      const parent = random.chance(0.7) ? undefined : random.pick(IDS);
      const before = random.chance(0.5) ? nodes.children(parent)[0] : undefined;
      nodes.create(id, value, parent, before);
      return [set([id, "v"], value), set([id, "p"], [parent ?? TOP, TOP])];
    }),
  move,
  move,
  move,
  (nodes: TreeMutator<number>, random: Random) =>
    attempt(() => {
      const [id, value] = [random.pick(IDS), random.below(9)];
      nodes.set(id, value);
      return set([id, "v"], value);
    }),
  (nodes: TreeMutator<number>, random: Random) => {
    const id = random.pick(IDS);
    if (random.chance(0.8)) return undefined;
    const under = (node: string): string[] => [node, ...nodes.children(node).flatMap(under)];
    const removed = nodes.has(id) ? under(id) : [];
    nodes.delete(id);
    return removed.map((node): Note => ({ op: "remove", path: [node] }));
  },
];

interface Flat {
  readonly parent: string;
  readonly value: unknown;
}

/** How often the oracle passed a placement over: 0 would mean that the histories try nothing of note. */
let passedOver = 0;

/** The meaning of a tree, from the history: the last placements one by one, the earliest first, without cycles. */
function oracle(events: readonly TestEvent[]): Record<string, Flat> {
  const flat = events.map((event) => ({ ...event, notes: event.notes.flat() }));
  const latest = new Map<string, ReturnType<typeof aliveNotes>[number]>();
  for (const note of aliveNotes(flat)) {
    const key = note.path.join("/");
    const best = latest.get(key);
    const isLater =
      best === undefined ||
      note.event.time > best.event.time ||
      (note.event.time === best.event.time && note.event.actor >= best.event.actor);
    if (isLater) latest.set(key, note);
  }
  const ids = [...new Set([...latest.keys()].map((key) => key.split("/")[0] as string))];
  const placements = ids.map((id) => {
    const note = latest.get(`${id}/p`);
    const [parent, from] = (note?.value ?? [TOP, TOP]) as [string, string];
    return { id, parent, from, time: note?.event.time ?? 0, seq: note?.event.seq ?? 0 };
  });
  placements.sort((a, b) => a.time - b.time || a.seq - b.seq || (a.id < b.id ? -1 : 1));
  const result: Record<string, Flat> = {};
  const closesCycle = (id: string, parent: string): boolean =>
    parent === id || (result[parent] !== undefined && closesCycle(id, result[parent].parent));
  for (const { id, parent, from } of placements) {
    const possible = [parent, from].filter((at) => at === TOP || (ids.includes(at) && !closesCycle(id, at)));
    if (possible[0] !== parent) passedOver++;
    result[id] = { parent: possible[0] ?? TOP, value: latest.get(`${id}/v`)?.value };
  }
  return result;
}

function flatten(nodes: readonly TreeNode<number>[], parent = TOP): Record<string, Flat> {
  return Object.fromEntries(
    nodes.flatMap(({ id, value, children }) => [[id, { parent, value }], ...Object.entries(flatten(children, id))]),
  ) as Record<string, Flat>;
}

crdtSuite({ describe, it, runs: 100, type: tree<number>(), operations, oracle, observe: (nodes) => flatten(nodes) });

it("histories in which placements are passed over read as the oracle says", () => {
  passedOver = 0;
  for (let seed = 1; seed <= 100; seed++) {
    randomHistory({ type: tree<number>(), operations }, new Random(seed), 60, (replica) => {
      expect(flatten(replica.value())).toEqual(oracle([...replica.events.values()]));
    });
  }
  expect(passedOver).toBeGreaterThan(50);
});

describe("the order of a tree", () => {
  it("is that of the placements, and `before` puts a node anywhere", () => {
    const [a] = createReplicas(tree<number>(), 1);
    a?.mutate((nodes) => {
      nodes.create("z", 1);
      nodes.create("y", 2);
    });
    a?.mutate((nodes) => {
      nodes.create("x", 3);
      nodes.create("w", 4, undefined, "z");
      nodes.create("v", 5, undefined, "x");
    });
    const view = a?.type.view(a.state);
    expect(view?.children()).toEqual(["w", "z", "y", "v", "x"]);
    a?.mutate((nodes) => nodes.move("w"));
    a?.mutate((nodes) => nodes.move("x", undefined, "z"));
    expect(view?.children()).toEqual(["x", "z", "y", "v", "w"]);
    expect(() => a?.mutate((nodes) => nodes.move("x", undefined, "x"))).toThrow(RangeError);
    expect(() => a?.mutate((nodes) => nodes.create("n", 1, "x", "z"))).toThrow('"z" is no child of "x"');
  });

  it("is a model list's, whatever is inserted and moved", () => {
    const random = new Random(3);
    const [a] = createReplicas(tree<number>(), 1);
    const model: string[] = [];
    for (let step = 0; step < 400; step++) {
      const at = random.chance(0.5) ? 0 : random.below(model.length + 1);
      const old = random.chance(0.4) && model.length > 1 ? random.below(model.length) : -1;
      const id = old < 0 ? `n${step}` : (model.splice(old, 1)[0] as string);
      const before = model[Math.min(at, model.length)];
      a?.mutate((nodes) => {
        if (old < 0) nodes.create(id, step, undefined, before);
        else nodes.move(id, undefined, before);
      });
      model.splice(before === undefined ? model.length : model.indexOf(before), 0, id);
    }
    expect(a?.type.view(a.state).children()).toEqual(model);
  });

  it("keeps what two replicas insert at one place apart, so that there is room between", () => {
    const [a, b] = createReplicas(tree<number>(), 2);
    if (a === undefined || b === undefined) return;
    a.mutate((nodes) => nodes.create("end", 0));
    syncAll([a, b]);
    a.mutate((nodes) => nodes.create("left", 0, undefined, "end"));
    b.mutate((nodes) => nodes.create("right", 0, undefined, "end"));
    syncAll([a, b]);
    assertConvergent([a, b]);
    const [first, second] = a.type.view(a.state).children();
    a.mutate((nodes) => nodes.create("middle", 0, undefined, second));
    expect(a.type.view(a.state).children()).toEqual([first, "middle", second, "end"]);
  });
});

describe("positions", () => {
  it("lie between, and leave room", () => {
    const random = new Random(9);
    const positions = [endPosition(1, 0), endPosition(1, 70), endPosition(2, 0), endPosition(2 ** 53 - 1, 5000)];
    expect([...positions].sort()).toEqual(positions);
    for (let step = 0; step < 3000; step++) {
      const index = random.chance(0.3) ? 0 : random.below(positions.length);
      const [previous, next] = [positions[index - 1] ?? "", positions[index] as string];
      const position = positionBetween(previous, next, `${step}`);
      if (!(previous < position && position < next && isPosition(position))) {
        throw new Error(`${position} is not between ${previous} and ${next}`);
      }
      positions.splice(index, 0, position);
    }
    expect(Math.max(...positions.map(({ length }) => length))).toBeLessThan(300);
  });

  it("give the next one again where there is no room", () => {
    expect(positionBetween("V", "V", "x")).toBe("V");
    expect(["", "-", "a-", "ä", "a".repeat(2000), 7, undefined].map(isPosition)).not.toContain(true);
  });
});

describe("plain data", () => {
  it("goes into a tree and comes out the same", () => {
    const data = [
      {
        id: "b",
        value: 1,
        children: [
          { id: "z", value: 2, children: [] },
          { id: "y", value: 3, children: [] },
        ],
      },
      { id: "a", value: 4, children: [] },
    ];
    const [a, b] = createReplicas(tree<number>(), 2);
    if (a === undefined || b === undefined) return;
    a.mutate((nodes) => nodes.fromJSON(data));
    expect(JSON.parse(JSON.stringify(a.type.view(a.state)))).toEqual(data);
    b.mutate((nodes) => {
      nodes.create("top", 0);
      nodes.fromJSON(a.value() as typeof data, "top");
    });
    expect(b.value()).toEqual([{ id: "top", value: 0, children: data }]);
    expect(() =>
      b.mutate((nodes) =>
        nodes.fromJSON([
          { id: "new", value: 1 },
          { id: "a", value: 1 },
        ]),
      ),
    ).toThrow("taken");
    expect(b.type.view(b.state).has("new")).toBe(false);
  });

  it("nests deeper than the stack", () => {
    const [a] = createReplicas(tree<number>(), 1);
    a?.mutate((nodes) => {
      for (let level = 0; level < 20_000; level++)
        nodes.create(`${level}`, level, level === 0 ? undefined : `${level - 1}`);
    });
    let depth = 0;
    for (let at = a?.value()[0]; at !== undefined; at = at.children[0]) depth++;
    expect(depth).toBe(20_000);
  });
});

describe("the wire format of trees", () => {
  it("is that of the golden file", () => {
    const [a] = createReplicas(tree<string>(), 1);
    if (a === undefined) return;
    const events = [
      a.mutate((nodes) => nodes.create("x", "1")),
      a.mutate((nodes) => nodes.create("y", "2", "x")),
      a.mutate((nodes) => nodes.create("z", "3", "x", "y")),
      a.mutate((nodes) => nodes.move("y")),
      a.mutate((nodes) => nodes.delete("y")),
    ];
    expectGolden("tree", {
      ...Object.fromEntries(events.map((event, index) => [`delta ${index}`, toHex(event?.delta ?? new Uint8Array())])),
      state: toHex(a.type.encode(a.state)),
    });
  });
});
