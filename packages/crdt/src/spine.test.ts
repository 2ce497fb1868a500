import { describe, expect, it } from "vitest";
import { gCounter } from "./g-counter.ts";
import { lwwMap } from "./lww-map.ts";
import { lwwRegister } from "./lww-register.ts";
import { aliveNotes, lastWrites, sums } from "./oracle.test-support.ts";
import { orMap } from "./or-map.ts";
import { struct } from "./struct.ts";
import { type Random, crdtSuite } from "./testing/index.ts";

const KEYS = ["a", "b", "__proto__", "é\u{1F333}"];
const VALUES = [0, -0, 1.5, "x", null, [1, { y: "z" }], 7n, true];

crdtSuite({
  describe,
  it,
  type: gCounter,
  operations: [
    (counter, random) => {
      const value = 1 + random.below(5);
      counter.increment(value);
      return { op: "add", path: [], value };
    },
  ],
  oracle: (events) => sums(aliveNotes(events)).get("") ?? 0,
});

crdtSuite({
  describe,
  it,
  type: lwwRegister(),
  operations: [
    (register, random) => {
      const value = random.pick(VALUES);
      register.set(value);
      return { op: "set", path: [], value };
    },
  ],
  oracle: (events) => lastWrites(aliveNotes(events)).get(""),
});

crdtSuite({
  describe,
  it,
  type: lwwMap(),
  operations: [
    (map, random) => {
      const [key, value] = [random.pick(KEYS), random.pick(VALUES)];
      map.set(key, value);
      return { op: "set", path: [key], value };
    },
    (map, random) => {
      const key = random.pick(KEYS);
      map.delete(key);
      return { op: "remove", path: [key] };
    },
    (map, random) => {
      if (random.chance(0.5)) return undefined;
      map.clear();
      return { op: "remove", path: [] };
    },
  ],
  oracle: (events) => record(lastWrites(aliveNotes(events))),
});

crdtSuite({
  describe,
  it,
  type: orMap(gCounter),
  operations: [
    (map, random) => {
      const [key, value] = [random.pick(KEYS), 1 + random.below(5)];
      map.at(key).increment(value);
      return { op: "add", path: [key], value };
    },
    (map, random) => {
      const key = random.pick(KEYS);
      map.delete(key);
      return { op: "remove", path: [key] };
    },
    (map, random) => {
      if (random.chance(0.5)) return undefined;
      map.clear();
      return { op: "remove", path: [] };
    },
  ],
  oracle: (events) => record(sums(aliveNotes(events))),
  runs: 300,
});

const nested = struct({
  words: orMap(gCounter),
  total: gCounter,
  deep: orMap(orMap(struct({ position: lwwRegister<number>(), hits: gCounter }))),
});

const pickPath = (random: Random): [string, string] => [random.pick(["a", "b"]), random.pick(["x", "y"])];

crdtSuite({
  describe,
  it,
  type: nested,
  operations: [
    (state, random) => {
      const key = random.pick(KEYS);
      state.words.at(key).increment(2);
      return { op: "add", path: ["words", key], value: 2 };
    },
    (state) => {
      state.total.increment();
      return { op: "add", path: ["total"], value: 1 };
    },
    (state, random) => {
      const [outer, inner] = pickPath(random);
      const value = random.below(100);
      state.deep.at(outer).at(inner).position.set(value);
      return { op: "set", path: ["deep", outer, inner, "position"], value };
    },
    (state, random) => {
      const [outer, inner] = pickPath(random);
      state.deep.at(outer).at(inner).hits.increment(3);
      return { op: "add", path: ["deep", outer, inner, "hits"], value: 3 };
    },
    (state, random) => {
      const [outer, inner] = pickPath(random);
      state.deep.at(outer).delete(inner);
      return { op: "remove", path: ["deep", outer, inner] };
    },
    (state, random) => {
      const [outer] = pickPath(random);
      state.deep.delete(outer);
      return { op: "remove", path: ["deep", outer] };
    },
    (state, random) => {
      const [outer] = pickPath(random);
      state.deep.at(outer).clear();
      return { op: "remove", path: ["deep", outer] };
    },
    (state) => {
      state.deep.clear();
      return { op: "remove", path: ["deep"] };
    },
  ],
  oracle: (events) => {
    const alive = aliveNotes(events);
    const value: Record<string, Record<string, unknown>> = { words: {}, deep: {} };
    const leaves = [...sums(alive), ...lastWrites(alive)];
    for (const [path, leaf] of leaves.filter(([found]) => found !== "total")) {
      const keys = path.split("/");
      let at: Record<string, unknown> = value;
      for (const key of keys.slice(0, -1))
        at = ((Object.hasOwn(at, key) ? at[key] : define(at, key, {})) ?? {}) as never;
      define(at, keys.at(-1) ?? "", leaf);
      if (keys[0] === "deep") at["hits"] ??= 0;
    }
    return { ...value, total: sums(alive).get("total") ?? 0 };
  },
  runs: 300,
});

function define(target: Record<string, unknown>, key: string, value: unknown): unknown {
  Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
  return value;
}

function record(entries: Map<string, unknown>): Record<string, unknown> {
  const target = {};
  for (const [key, value] of entries) define(target, key, value);
  return target;
}

describe("the spine", () => {
  it("infers values through nesting", () => {
    const value: { readonly total: number } = nested.value(nested.create());
    expect({ ...value }).toEqual({ words: {}, total: 0, deep: {} });
  });
});
