import { describe, expect, it } from "vitest";
import { boundedCounter } from "./bounded-counter.ts";
import { builtinTypes } from "./builtin-types.ts";
import { CrdtError } from "./error.ts";
import { gCounter } from "./g-counter.ts";
import { expectGolden, toHex } from "./golden.test-support.ts";
import { lwwMap } from "./lww-map.ts";
import { lwwRegister } from "./lww-register.ts";
import { orMap } from "./or-map.ts";
import { pnCounter } from "./pn-counter.ts";
import { schemaMap } from "./schema-map.ts";
import { struct } from "./struct.ts";
import { assertConvergent, createReplicas, syncAll } from "./testing/index.ts";

const wordCount = struct({ words: orMap(gCounter), total: gCounter, position: orMap(lwwRegister<number>()) });

describe("counters in maps", () => {
  it("a removal cancels exactly what it observed", () => {
    const [a, b] = createReplicas(orMap(gCounter), 2);
    if (a === undefined || b === undefined) return;
    a.mutate((map) => map.at("k").increment(5));
    syncAll([a, b]);
    a.mutate((map) => map.at("k").increment(2));
    b.mutate((map) => map.delete("k"));
    syncAll([a, b]);
    assertConvergent([a, b]);
    expect({ ...a.value() }).toEqual({ k: 2 });
  });
});

describe("maps whose types replicas disagree on", () => {
  it("have as many keys as they show", () => {
    const [a] = createReplicas(orMap(lwwRegister()), 2);
    const [, b] = createReplicas(orMap(gCounter), 2);
    if (a === undefined || b === undefined) return;
    a.mutate((map) => map.at("text").set("x"));
    const event = b.mutate((map) => map.at("count").increment(3));
    if (event !== undefined) a.receive(event);
    const view = a.type.view(a.state);
    expect([view.size, [...view.keys()]]).toEqual([1, ["text"]]);
  });
});

describe("limits and mistakes", () => {
  it.each([
    [lwwRegister, "not the function lwwRegister"],
    [boundedCounter, "not boundedcounter"],
    [5, "not 5"],
    [undefined, "not undefined"],
  ])("refuses to nest what is no nestable type: %o", (type, message) => {
    expect(() => struct({ title: type as never })).toThrow(TypeError);
    expect(() => struct({ title: type as never })).toThrow(`the field "title" must be a type that nests`);
    expect(() => struct({ title: type as never })).toThrow(message);
    expect(() => orMap(type as never)).toThrow(message);
  });

  it("refuses fields that are none, and options of a schema that there are not", () => {
    for (const none of [undefined, null, "total"]) {
      expect(() => struct(none as never)).toThrow("the fields must be an object of types");
      expect(() => schemaMap({ version: 1, fields: none as never })).toThrow("the fields must be an object of types");
    }
    const misspelt = { version: 2, fields: { total: gCounter }, migrations: [] };
    expect(() => schemaMap(misspelt as never)).toThrow(
      "schemaMap has no option migrations; there are version, fields,",
    );
  });

  it("refuses bad increments and writes nothing", () => {
    const [a] = createReplicas(gCounter, 1);
    if (a === undefined) return;
    expect(() => a.mutate((counter) => counter.increment(-1))).toThrow(RangeError);
    expect(() => a.mutate((counter) => counter.increment(0.5))).toThrow(TypeError);
    expect(a.mutate((counter) => counter.increment(0))).toBeUndefined();
    a.mutate((counter) => counter.increment(Number.MAX_SAFE_INTEGER));
    expect(() => a.mutate((counter) => counter.increment())).toThrow(RangeError);
    expect(a.value()).toBe(Number.MAX_SAFE_INTEGER);
  });

  it.each([
    ["5", 'not "5"'],
    [5n, "not a bigint"],
    [null, "not null"],
    [Number.NaN, "not NaN"],
    [{}, "not an object"],
  ])("says what it was given instead of an amount: %o", (amount, message) => {
    const [a] = createReplicas(struct({ up: gCounter, both: pnCounter }), 1);
    expect(() => a?.mutate(({ up }) => up.increment(amount as never))).toThrow(message);
    expect(() => a?.mutate(({ both }) => both.increment(amount as never))).toThrow(message);
  });

  it("leaves no trace of a value that cannot be stored", () => {
    const [a, b] = createReplicas(lwwMap<never>(), 2);
    if (a === undefined || b === undefined) return;
    const event = a.mutate((map) => {
      expect(() => map.set("bad", { deep: undefined } as never)).toThrow("(at .deep)");
      expect(() => map.set("\ud800", 1 as never)).toThrow(TypeError);
      expect(() => map.set("k".repeat(1025), 1 as never)).toThrow(CrdtError);
      expect(() => map.set("é".repeat(513), 1 as never)).toThrow(CrdtError);
      map.set("é".repeat(512), 1 as never);
      map.set("good", 2 as never);
    });
    if (event !== undefined) b.receive(event);
    assertConvergent([a, b]);
    expect(Object.keys(b.value())).toEqual(["é".repeat(512), "good"]);
  });

  it("refuses writes outside the callback and in views", () => {
    const [a] = createReplicas(wordCount, 1);
    if (a === undefined) return;
    let kept: { increment(amount?: number): void } | undefined;
    a.mutate((state) => {
      kept = state.total;
      state.total.increment();
    });
    expect(() => kept?.increment()).toThrow("outside");
    const view = wordCount.view(a.state) as unknown as { total: { increment(): void } };
    expect(() => view.total.increment()).toThrow("read-only");
    expect(a.value().total).toBe(1);
  });

  it("keeps users' objects apart from the state", () => {
    const [a] = createReplicas(lwwRegister<{ list: number[]; at: Date; raw: Uint8Array }>(), 1);
    if (a === undefined) return;
    const given = { list: [1], at: new Date(5), raw: new Uint8Array([1]) };
    a.mutate((register) => register.set(given));
    given.list.push(2);
    given.raw[0] = 9;
    const first = a.value();
    first?.at.setTime(77);
    if (first !== undefined) first.raw[0] = 8;
    expect(a.value()).toEqual({ list: [1], at: new Date(5), raw: new Uint8Array([1]) });
  });
});

describe("nodes that disagree on types", () => {
  it("keep both children, and any node can show them", () => {
    const [a] = createReplicas(orMap(gCounter), 1);
    const [, b] = createReplicas(orMap(lwwRegister<string>()), 2);
    if (a === undefined || b === undefined) return;
    const added = a.mutate((map) => map.at("k").increment());
    const written = b.mutate((map) => map.at("k").set("text"));
    if (added === undefined || written === undefined) return;
    a.receive(written);
    b.receive(added);
    expect(a.canonical()).toBe(b.canonical());
    expect([{ ...a.value() }, { ...b.value() }]).toEqual([{ k: 1 }, { k: "text" }]);
  });

  it("show a struct without knowing its shape", () => {
    const [a] = createReplicas(wordCount, 1);
    if (a === undefined) return;
    a.mutate((state) => {
      state.words.at("to").increment(2);
      state.position.at("reader").set(7);
    });
    const dynamic = builtinTypes.find((type) => type.name === "struct");
    const value: unknown = dynamic?.value(dynamic.decode(wordCount.encode(a.state)));
    expect(JSON.stringify(value)).toBe('{"words":{"to":2},"position":{"reader":7}}');
  });
});

describe("reads", () => {
  it("size, has, keys and entries follow removals and rollbacks", () => {
    const [a] = createReplicas(orMap(gCounter), 1);
    if (a === undefined) return;
    a.mutate((map) => {
      for (const key of ["a", "b", "c"]) map.at(key).increment();
      map.delete("b");
    });
    expect(() =>
      a.mutate((map) => {
        map.clear();
        map.at("z").increment();
        throw new Error("back");
      }),
    ).toThrow("back");
    const view = orMap(gCounter).view(a.state);
    expect([view.size, view.has("a"), view.has("b"), view.get("b")]).toEqual([2, true, false, undefined]);
    expect([[...view.keys()], [...view.entries()]]).toEqual([
      ["a", "c"],
      [
        ["a", 1],
        ["c", 1],
      ],
    ]);
  });
});

describe("the wire format", () => {
  it("is that of the golden file", () => {
    const replicas = createReplicas(wordCount, 2);
    const [a, b] = replicas;
    if (a === undefined || b === undefined) return;
    const events = [
      a.mutate((state) => {
        state.words.at("to").increment();
        state.words.at("be").increment(300);
        state.total.increment(2);
        state.position.at("x").set(-1.5);
      }),
    ];
    syncAll(replicas);
    events.push(
      b.mutate((state) => state.position.at("x").set(5)),
      b.mutate((state) => state.words.delete("to")),
      b.mutate((state) => state.position.clear()),
    );
    syncAll(replicas);
    events.push(
      a.mutate((state) => state.words.at("to").increment()),
      a.mutate((state) => state.total.increment()),
    );
    syncAll(replicas);
    expectGolden("spine", {
      ...Object.fromEntries(events.map((event, index) => [`delta ${index}`, toHex(event?.delta ?? new Uint8Array())])),
      state: toHex(wordCount.encode(a.state)),
      canonical: a.canonical(),
    });
    const stored = wordCount.decode(wordCount.encode(b.state));
    expect(JSON.stringify(wordCount.value(stored))).toBe('{"words":{"to":1,"be":300},"total":3,"position":{}}');
  });
});
