import { describe, expect, it } from "vitest";
import { builtinTypes } from "./builtin-types.ts";
import { dwFlag, ewFlag } from "./flag.ts";
import { gCounter } from "./g-counter.ts";
import { gSet } from "./g-set.ts";
import { expectGolden, toHex } from "./golden.test-support.ts";
import { lwwMap } from "./lww-map.ts";
import { mvRegister } from "./mv-register.ts";
import { type Note, aliveNotes, sums } from "./oracle.test-support.ts";
import { orLog } from "./or-log.ts";
import { orMap } from "./or-map.ts";
import { orSet } from "./or-set.ts";
import { pnCounter } from "./pn-counter.ts";
import { type RwSetMutator, rwSet } from "./rw-set.ts";
import { struct } from "./struct.ts";
import { type Random, type TestEvent, assertConvergent, createReplicas, crdtSuite, syncAll } from "./testing/index.ts";
import { twoPSet } from "./two-p-set.ts";
import type { Value } from "./value.ts";

const ELEMENTS: readonly Value[] = ["a", "b", 1, -0, 2n, [1, "x"], "\0odd", "__proto__", null];
const runs = 150;

const set = (path: string, value: unknown): Note => ({ op: "set", path: [path], value });
const remove = (...path: string[]): Note => ({ op: "remove", path });
// oxlint-disable-next-line typescript/no-base-to-string -- the elements of these histories are primitives
const name = (element: Value): string => (Object.is(element, -0) ? "-0" : `${typeof element} ${String(element)}`);
const sortedNames = (elements: readonly Value[]): string[] => elements.map(name).sort();

/** The values written under each path and not overwritten or removed. */
function liveValues(events: readonly TestEvent[]): Map<string, unknown[]> {
  const found = new Map<string, unknown[]>();
  for (const { path, value } of aliveNotes(events)) {
    const key = path.join("/");
    found.set(key, [...(found.get(key) ?? []), value]);
  }
  return found;
}

const allTrue = (events: readonly TestEvent[]): string[] =>
  [...liveValues(events)]
    .filter(([, values]) => values.every((value) => value === true))
    .map(([path]) => path)
    .sort();

crdtSuite({
  describe,
  it,
  runs,
  type: pnCounter,
  operations: [
    (counter, random) => {
      const value = random.below(11) - 5;
      if (random.chance(0.5)) counter.increment(value);
      else counter.decrement(-value);
      return { op: "add", path: [], value };
    },
  ],
  oracle: (events) => sums(aliveNotes(events)).get("") ?? 0,
});

crdtSuite({
  describe,
  it,
  runs,
  type: orMap(pnCounter),
  operations: [
    (map, random) => {
      const key = random.pick(["a", "b"]);
      const value = random.pick([-3, -1, 1, 2]);
      map.at(key).increment(value);
      return { op: "add", path: [key], value };
    },
    (map, random) => {
      const key = random.pick(["a", "b"]);
      map.delete(key);
      return remove(key);
    },
  ],
  oracle: (events) => Object.fromEntries(sums(aliveNotes(events))),
});

crdtSuite({
  describe,
  it,
  runs,
  type: mvRegister<number>(),
  operations: [
    (register, random) => {
      const value = random.below(100);
      register.set(value);
      return set("", value);
    },
    (register) => {
      let value = 0;
      const sum = (values: readonly number[]): number => (value = values.reduce((a, b) => a + b, 0));
      return register.resolve(sum) ? set("", value) : undefined;
    },
  ],
  oracle: (events) => (liveValues(events).get("") ?? []).map(Number).sort((a, b) => a - b),
  observe: (values) => [...values].sort((a, b) => a - b),
});

for (const [type, isEnabled] of [
  [ewFlag, (values: readonly unknown[]) => values.includes(true)],
  [dwFlag, (values: readonly unknown[]) => values.length > 0 && !values.includes(false)],
] as const) {
  crdtSuite({
    describe,
    it,
    runs,
    type,
    operations: [
      (flag) => {
        flag.enable();
        return set("", true);
      },
      (flag) => {
        flag.disable();
        return set("", false);
      },
    ],
    oracle: (events) => isEnabled(liveValues(events).get("") ?? []),
  });
}

crdtSuite({
  describe,
  it,
  runs,
  type: orSet(),
  operations: [
    (elements, random) => {
      const element = random.pick(ELEMENTS);
      elements.add(element);
      return set(name(element), true);
    },
    (elements, random) => {
      const element = random.pick(ELEMENTS);
      elements.delete(element);
      return remove(name(element));
    },
    (elements, random) => {
      if (random.chance(0.7)) return undefined;
      elements.clear();
      return remove();
    },
  ],
  oracle: (events) => [...liveValues(events).keys()].sort(),
  observe: sortedNames,
});

crdtSuite({
  describe,
  it,
  runs,
  type: gSet(),
  operations: [
    (elements, random) => {
      const element = random.pick(ELEMENTS);
      elements.add(element);
      return { op: "add", path: [name(element)] };
    },
  ],
  oracle: (events) => [...liveValues(events).keys()].sort(),
  observe: sortedNames,
});

crdtSuite({
  describe,
  it,
  runs,
  type: rwSet(),
  operations: [true, false].map((added) => (elements: RwSetMutator<Value>, random: Random) => {
    const element = random.pick(ELEMENTS);
    if (added) elements.add(element);
    else elements.delete(element);
    return set(name(element), added);
  }),
  oracle: allTrue,
  observe: sortedNames,
});

crdtSuite({
  describe,
  it,
  runs,
  type: twoPSet(),
  operations: [
    (elements, random) => {
      const element = random.pick(ELEMENTS);
      elements.add(element);
      return { op: "add", path: [name(element)] };
    },
    (elements, random) => {
      const element = random.pick(ELEMENTS);
      return elements.delete(element) ? { op: "remove", path: [name(element)] } : undefined;
    },
  ],
  oracle: (events) => {
    const notes = events.flatMap((event) => event.notes as (Note | undefined)[]);
    const ofOp = (op: string): string[] => notes.flatMap((note) => (note?.op === op ? [note.path.join("/")] : []));
    const removed = new Set(ofOp("remove"));
    return [...new Set(ofOp("add"))].filter((path) => !removed.has(path)).sort();
  },
  observe: sortedNames,
});

crdtSuite({
  describe,
  it,
  runs,
  type: orLog<number>(),
  operations: [
    (log, random) => {
      const values = Array.from({ length: 1 + random.below(3) }, () => random.below(1000));
      log.append(...values);
      return values;
    },
  ],
  oracle: (events) =>
    [...events]
      .sort((a, b) => a.time - b.time || (a.actor < b.actor ? -1 : 1) || a.seq - b.seq)
      .flatMap((event) => event.notes.flat()),
});

const everything = struct({
  counter: pnCounter,
  register: mvRegister<number>(),
  enabled: ewFlag,
  disabled: dwFlag,
  grow: gSet<number>(),
  elements: orSet(),
  removing: rwSet<number>(),
  twice: twoPSet(),
  log: orLog(),
  map: lwwMap<number>(),
});

crdtSuite({
  describe,
  it,
  runs,
  type: orMap(everything),
  operations: [
    (map, random) => map.at(random.pick(["x", "y"])).counter.decrement(),
    (map, random) => map.at(random.pick(["x", "y"])).register.set(random.below(9)),
    (map, random) => map.at(random.pick(["x", "y"])).enabled.enable(),
    (map, random) => map.at(random.pick(["x", "y"])).disabled.disable(),
    (map, random) => void map.at(random.pick(["x", "y"])).grow.add(random.below(9)),
    (map, random) => map.at(random.pick(["x", "y"])).elements.add(random.below(9)),
    (map, random) => void map.at(random.pick(["x", "y"])).elements.delete(random.below(9)),
    (map, random) => void map.at(random.pick(["x", "y"])).removing.delete(random.below(9)),
    (map, random) => void map.at(random.pick(["x", "y"])).twice.add(random.below(9)),
    (map, random) => map.at(random.pick(["x", "y"])).log.append(random.below(9), random.below(9)),
    (map, random) => map.at(random.pick(["x", "y"])).map.set(`${random.below(3)}`, random.below(9)),
    (map, random) => void map.at(random.pick(["x", "y"])).map.delete(`${random.below(3)}`),
    (map, random) => void map.delete(random.pick(["x", "y"])),
    (map, random) => (random.chance(0.3) ? map.clear() : undefined),
  ],
});

describe("reads of the types", () => {
  it("log: length, at, range, tail and entries agree", () => {
    const [a] = createReplicas(orLog<string>(), 1);
    if (a === undefined) return;
    a.mutate((log) => log.append("a", "b"));
    a.mutate((log) => log.append("c"));
    const view = a.type.view(a.state);
    expect([view.length, view.at(-1), view.range(1, 2), view.tail(2), view.tail(0)]).toEqual([
      3,
      "c",
      ["b"],
      ["b", "c"],
      [],
    ]);
    expect(view.entries(2)[0]?.unixMs).toBeGreaterThan(1.7e12);
    expect(() => view.tail(-1)).toThrow(TypeError);
  });

  it("sets: has, size and values agree", () => {
    const [a] = createReplicas(orSet(), 1);
    if (a === undefined) return;
    a.mutate((elements) => {
      for (const element of ELEMENTS) elements.add(element);
      elements.delete("b");
    });
    const view = a.type.view(a.state);
    expect([view.size, view.has("b"), view.has(-0), view.has(0)]).toEqual([ELEMENTS.length - 1, false, true, false]);
    expect(sortedNames([...view.values()])).toEqual(sortedNames(ELEMENTS.filter((element) => element !== "b")));
  });

  it("counters refuse what would not be exact", () => {
    const [a] = createReplicas(pnCounter, 1);
    a?.mutate((counter) => counter.increment(2 ** 52 - 1));
    expect(() => a?.mutate((counter) => counter.increment())).toThrow(RangeError);
    expect(() => a?.mutate((counter) => counter.increment(2 ** 53))).toThrow(TypeError);
    expect(() => a?.mutate((counter) => counter.decrement(2 ** 53 - 1))).toThrow(RangeError);
  });
});

describe("the wire format of the types", () => {
  it("is that of the golden file", () => {
    const replicas = createReplicas(orMap(everything), 2);
    const [a, b] = replicas;
    if (a === undefined || b === undefined) return;
    const events = [
      a.mutate((map) => map.at("x").counter.decrement(3)),
      a.mutate((map) => map.at("x").counter.increment(300)),
      a.mutate((map) => map.at("x").elements.add("e")),
      a.mutate((map) => map.at("x").elements.add(-1)),
      b.mutate((map) => map.at("x").register.set(1)),
      a.mutate((map) => map.at("x").register.set(2)),
      b.mutate((map) => map.at("x").log.append("l", "m")),
      b.mutate((map) => {
        map.at("y").enabled.enable();
        map.at("y").disabled.disable();
        map.at("y").removing.delete(7);
      }),
    ];
    syncAll(replicas);
    events.push(
      b.mutate((map) => map.at("x").elements.delete("e")),
      b.mutate((map) => map.delete("x")),
      b.mutate((map) => map.at("z").twice.add("t")),
    );
    const states = replicas.map((replica) => toHex(replica.type.encode(replica.state)));
    syncAll(replicas);
    assertConvergent(replicas);
    expectGolden("types", {
      ...Object.fromEntries(events.map((event, index) => [`delta ${index}`, toHex(event?.delta ?? new Uint8Array())])),
      ...Object.fromEntries(states.map((state, index) => [`state ${index}`, state])),
    });
  });

  it("names every type once", () => {
    const names = builtinTypes.map((type) => type.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain(gCounter.name);
    for (const type of builtinTypes) expect(type.name).toMatch(/^[a-z0-9.-]{1,64}$/);
  });
});
