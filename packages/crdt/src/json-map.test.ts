import { describe, expect, it } from "vitest";
import { type JsonMapMutator, jsonMap } from "./json-map.ts";
import { type Random, assertConvergent, createReplicas, crdtSuite, syncAll } from "./testing/index.ts";
import type { Value } from "./value.ts";

const KEYS = ["a", "b", "__proto__"];

function randomData(random: Random, depth: number): Value {
  if (depth === 0 || random.chance(0.5)) return random.pick([1, "x", null, [1, 2], true]);
  const keys = KEYS.filter(() => random.chance(0.6));
  return Object.fromEntries(keys.map((key) => [key, randomData(random, depth - 1)]));
}

const randomPath = (random: Random): string[] => Array.from({ length: 1 + random.below(2) }, () => random.pick(KEYS));

crdtSuite({
  describe,
  it,
  type: jsonMap,
  operations: [
    (map: JsonMapMutator, random) => map.set(randomPath(random), randomData(random, 2)),
    (map: JsonMapMutator, random) => void map.delete(randomPath(random)),
    (map: JsonMapMutator, random) => map.assign({ [random.pick(["a", "b"])]: randomData(random, 1) }),
    (map: JsonMapMutator, random) => map.fromJSON({ a: randomData(random, 2) }),
  ],
});

describe("plain data", () => {
  it("is refused where it is no object, and under what is no path, with nothing changed", () => {
    const [a] = createReplicas(jsonMap, 1);
    a?.mutate((map) => map.fromJSON({ name: "x" }));
    for (const data of [[1], "x", 5, null, undefined, new Map()]) {
      expect(() => a?.mutate((map) => map.fromJSON(data as never))).toThrow("the whole of a jsonMap is an object");
      expect(() => a?.mutate((map) => map.assign(data as never))).toThrow("the whole of a jsonMap is an object");
    }
    for (const path of ["name", [], [1], ["a", 1], undefined]) {
      expect(() => a?.mutate((map) => map.set(path as never, 1))).toThrow(/path|key is a string/);
    }
    expect(a?.value()).toEqual({ name: "x" });
  });

  it("comes back as it went in, without empty objects", () => {
    const [a] = createReplicas(jsonMap, 1);
    const data = {
      name: "x",
      tags: ["t"],
      inner: { deep: { n: 1, none: {} } },
      at: new Date(5),
      raw: new Uint8Array([1]),
    };
    a?.mutate((map) => map.fromJSON(data));
    const expected = { ...data, inner: { deep: { n: 1 } } };
    expect(a?.value()).toEqual(expected);
    expect(a === undefined ? undefined : jsonMap.view(a.state).toJSON()).toEqual(expected);
  });

  it("makes no event of data that is there already, and replaces what differs", () => {
    const [a] = createReplicas(jsonMap, 1);
    const data = { keep: { x: 1, y: [1, { z: 2 }] }, at: new Date(5) };
    a?.mutate((map) => map.fromJSON(data));
    expect(a?.mutate((map) => map.fromJSON(structuredClone(data)))).toBeUndefined();
    a?.mutate((map) => map.fromJSON({ keep: { x: 2 } }));
    expect(a?.value()).toEqual({ keep: { x: 2 } });
  });

  it("merges concurrent changes of different keys at every level", () => {
    const [a, b] = createReplicas(jsonMap, 2);
    if (a === undefined || b === undefined) return;
    a.mutate((map) => map.fromJSON({ user: { name: "n", age: 1 } }));
    syncAll([a, b]);
    a.mutate((map) => map.set(["user", "name"], "m"));
    b.mutate((map) => map.set(["user", "age"], 2));
    syncAll([a, b]);
    assertConvergent([a, b]);
    expect(a.value()).toEqual({ user: { name: "m", age: 2 } });
  });

  it("refuses an empty path", () => {
    const [a] = createReplicas(jsonMap, 1);
    expect(() => a?.mutate((map) => map.set([], 1))).toThrow(TypeError);
  });
});
