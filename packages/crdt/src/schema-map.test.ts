import * as v from "valibot";
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { builtinTypes } from "./builtin-types.ts";
import { CrdtError } from "./error.ts";
import { gCounter } from "./g-counter.ts";
import { expectGolden, toHex } from "./golden.test-support.ts";
import { lwwRegister } from "./lww-register.ts";
import { aliveNotes, lastWrites, sums } from "./oracle.test-support.ts";
import { orMap } from "./or-map.ts";
import { orSet } from "./or-set.ts";
import { pnCounter } from "./pn-counter.ts";
import { schemaMap, writtenSchemaVersion } from "./schema-map.ts";
import type { StandardSchema } from "./standard-schema.ts";
import { type TestReplica, assertConvergent, createReplicas, crdtSuite, syncAll } from "./testing/index.ts";
import type { MutatorOf, ValueOf } from "./type.ts";
import { validatedRegister } from "./validated-register.ts";

const first = schemaMap({
  version: 1,
  fields: { name: z.string().max(20), visits: lwwRegister<number>(), tags: orSet<string>() },
});

const second = schemaMap({
  version: 2,
  fields: { fullName: v.pipe(v.string(), v.trim(), v.minLength(1)), visits: pnCounter, tags: orSet<string>() },
  migration: {
    from: first,
    read: (before, written) => ({
      fullName: written.fullName ?? before.name,
      visits: (before.visits ?? 0) + (written.visits ?? 0),
    }),
  },
});

const third = schemaMap({
  version: 3,
  writableFrom: 2,
  fields: { title: z.string(), visits: pnCounter },
  migration: { from: second, read: ({ fullName }, { title }) => ({ title: title ?? fullName?.toUpperCase() }) },
});

crdtSuite({
  describe,
  it,
  runs: 60,
  type: orMap(first),
  operations: [
    (map, random) => {
      const [key, value] = [random.pick(["a", "b"]), `v${random.below(9)}`];
      map.at(key).name.set(value);
      return { op: "set", path: [key, "name"], value };
    },
    (map, random) => {
      const [key, value] = [random.pick(["a", "b"]), random.below(9)];
      map.at(key).visits.set(value);
      return { op: "set", path: [key, "visits"], value };
    },
    (map, random) => {
      const [key, value] = [random.pick(["a", "b"]), random.pick(["x", "y"])];
      map.at(key).tags.add(value);
      return { op: "set", path: [key, "tags", value], value };
    },
    (map, random) => {
      const key = random.pick(["a", "b"]);
      return map.delete(key) ? { op: "remove", path: [key] } : undefined;
    },
  ],
  oracle: (events) => {
    const found = new Map<string, { name?: unknown; visits?: unknown; tags: string[] }>();
    for (const [path, value] of lastWrites(aliveNotes(events))) {
      const [key = "", field] = path.split("/");
      const item = found.get(key) ?? { tags: [] };
      if (field === "tags") item.tags.push(value as string);
      else item[field as "name" | "visits"] = value;
      found.set(key, item);
    }
    return Object.fromEntries([...found].map(([key, item]) => [key, { ...item, tags: item.tags.sort() }]));
  },
  // A map in which only the stamp is left, because a removal had not seen it, reads as an empty one.
  observe: (value) =>
    Object.fromEntries(
      Object.entries(value).filter(
        ([, { name, visits, tags }]) => name !== undefined || visits !== undefined || tags.length > 0,
      ),
    ),
});

crdtSuite({
  describe,
  it,
  runs: 60,
  type: second,
  operations: [
    (map, random) => {
      const value = `n${random.below(9)}`;
      map.fullName.set(` ${value} `);
      return { op: "set", path: ["fullName"], value };
    },
    (map, random) => {
      const value = 1 + random.below(5);
      map.visits.decrement(value);
      return { op: "add", path: ["visits"], value: -value };
    },
  ],
  oracle: (events) => ({
    fullName: lastWrites(aliveNotes(events)).get("fullName"),
    visits: sums(aliveNotes(events)).get("visits") ?? 0,
    tags: [],
  }),
});

/** Replicas of the three versions, with an actor each. */
function programs(): [
  TestReplica<unknown, ValueOf<typeof first>, MutatorOf<typeof first>, unknown>,
  TestReplica<unknown, ValueOf<typeof second>, MutatorOf<typeof second>, unknown>,
  TestReplica<unknown, ValueOf<typeof third>, MutatorOf<typeof third>, unknown>,
] {
  return [createReplicas(first, 3)[0], createReplicas(second, 3)[1], createReplicas(third, 3)[2]] as never;
}

describe("programs of several schema versions on one map", () => {
  it("each reads what the others write, and nothing is rewritten", () => {
    const [old, next] = programs();
    const replicas = [old, next] as unknown as (typeof old)[];
    old.mutate((map) => {
      map.name.set("Ada");
      map.visits.set(3);
      map.tags.add("x");
    });
    syncAll(replicas);
    const bytes = next.canonical();
    expect({ ...next.value() }).toEqual({ fullName: "Ada", visits: 3, tags: ["x"] });
    expect(next.canonical()).toBe(bytes);
    next.mutate((map) => {
      map.fullName.set("Ada Lovelace");
      map.visits.increment(2);
      map.tags.add("y");
    });
    old.mutate((map) => map.visits.set(10));
    syncAll(replicas);
    assertConvergent(replicas);
    expect({ ...next.value() }).toEqual({ fullName: "Ada Lovelace", visits: 12, tags: ["x", "y"] });
    expect({ ...old.value() }).toEqual({ name: "Ada", visits: 10, tags: ["x", "y"] });
  });

  it("a migration is told which fields were written, be it with what they begin with", () => {
    const seen: string[][] = [];
    const type = schemaMap({
      version: 2,
      fields: { count: pnCounter, tags: orSet<string>(), note: lwwRegister<string>() },
      migration: {
        from: first,
        read: (_, written) => {
          seen.push(Object.keys(written));
          return {};
        },
      },
    });
    const [a] = createReplicas(type, 1);
    a?.value();
    a?.mutate((map) => {
      map.count.increment();
      map.count.decrement();
    });
    expect(a?.value()).toMatchObject({ count: 0, tags: [] });
    expect(seen).toEqual([[], ["count"]]);
  });

  it("migrations chain", () => {
    const [old, , newest] = programs();
    const event = old.mutate((map) => map.name.set("Ada"));
    if (event !== undefined) newest.receive(event);
    expect({ ...newest.value() }).toEqual({ title: "ADA", visits: 0 });
  });

  it("the version that wrote is known, and may close the map to older writers", () => {
    const [old, next, newest] = programs();
    const replicas = [old, next, newest] as unknown as (typeof old)[];
    const versions = (): number[] =>
      replicas.map((replica) => writtenSchemaVersion(replica.type.view(replica.state) as object));
    expect(versions()).toEqual([0, 0, 0]);
    // Concurrent stamps: the highest holds.
    newest.mutate((map) => map.title.set("t"));
    next.mutate((map) => map.visits.increment());
    syncAll(replicas);
    expect(versions()).toEqual([3, 3, 3]);
    expect(() => old.mutate((map) => map.visits.set(1))).toThrow(
      expect.objectContaining({ name: "CrdtError", code: "UNSUPPORTED_VERSION" }),
    );
    next.mutate((map) => map.visits.increment());
    syncAll(replicas);
    assertConvergent(replicas);
    expect(newest.value().visits).toBe(2);
    expect(() => writtenSchemaVersion({})).toThrow(TypeError);
  });

  it("of concurrent stamps the strictest holds, whichever is the later", () => {
    for (const [one, other] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const [old] = programs();
      const next = createReplicas(second, 3)[one];
      const newest = createReplicas(third, 3)[other];
      next?.mutate((map) => map.visits.increment());
      newest?.mutate((map) => map.title.set("t"));
      syncAll([old, next, newest] as unknown as (typeof old)[]);
      expect(() => old.mutate((map) => map.visits.set(1))).toThrow("only versions from 2 on");
    }
  });

  it("a stamp is rolled back with its event, and written once", () => {
    const [old] = programs();
    const attempt = (): unknown =>
      old.mutate((map) => {
        map.visits.set(1);
        throw new Error("back");
      });
    expect(attempt).toThrow("back");
    expect(writtenSchemaVersion(old.type.view(old.state) as object)).toBe(0);
    const lengths = [1, 2, 3].map((count) => old.mutate((map) => map.visits.set(count))?.delta.length);
    expect(lengths[0]).toBeGreaterThan(lengths[1] ?? 0);
    expect(lengths[1]).toBe(lengths[2]);
  });
});

describe("schemas of values", () => {
  const mistakes = (change: () => unknown): unknown => {
    try {
      change();
    } catch (error) {
      return error instanceof CrdtError ? [error.code, error.message, Array.isArray(error.cause)] : error;
    }
    return undefined;
  };

  it("refuse a value of zod or valibot with its path, and write nothing", () => {
    const type = schemaMap({
      version: 1,
      fields: {
        zod: z.object({ age: z.number().min(0) }),
        valibot: v.object({ age: v.pipe(v.number(), v.minValue(0)) }),
      },
    });
    const [a] = createReplicas(type, 1);
    for (const field of ["zod", "valibot"] as const) {
      const error = mistakes(() => a?.mutate((map) => map[field].set({ age: -1 })));
      expect(error).toEqual(["INVALID_VALUE", expect.stringContaining("(at .age)"), true]);
    }
    expect(a?.vector.total()).toBe(0);
    a?.mutate((map) => map.zod.set({ age: 1 }));
    expect(a?.value()).toMatchObject({ zod: { age: 1 } });
  });

  it("store what the schema puts out, and type what it takes in", () => {
    const type = validatedRegister(z.string().transform((text) => text.length));
    const [a] = createReplicas(type, 1);
    a?.mutate((register) => register.set("four"));
    expect(a?.value()).toBe(4);
    expectTypeOf<ValueOf<typeof type>>().toEqualTypeOf<number | undefined>();
    expectTypeOf<Parameters<MutatorOf<typeof type>["set"]>>().toEqualTypeOf<[string]>();
  });

  it("cannot be asynchronous or something else", () => {
    const slow: StandardSchema<string> = {
      "~standard": { version: 1, vendor: "test", validate: () => Promise.resolve({ issues: [{ message: "late" }] }) },
    };
    const [a] = createReplicas(validatedRegister(slow), 1);
    expect(() => a?.mutate((register) => register.set("x"))).toThrow("asynchronously");
    expect(() => validatedRegister({} as never)).toThrow(TypeError);
  });

  it("read what a peer wrote without a schema as it is", () => {
    const [a] = createReplicas(first, 2);
    const [, b] = createReplicas(schemaMap({ version: 1, fields: { name: lwwRegister<number>() } }), 2);
    const event = b?.mutate((map) => map.name.set(7));
    if (event !== undefined) a?.receive(event);
    expect(a?.value().name).toBe(7);
  });
});

describe("the declaration of a schema'd map", () => {
  it("is checked", () => {
    const fields = { hits: gCounter };
    for (const version of [0, 1.5, Number.NaN]) expect(() => schemaMap({ version, fields })).toThrow(RangeError);
    expect(() => schemaMap({ version: 1, writableFrom: 2, fields })).toThrow(RangeError);
    expect(() => schemaMap({ version: 1, fields, migration: { from: first, read: () => ({}) } })).toThrow(RangeError);
    expect(() => schemaMap({ version: 1, fields: { $schema: gCounter } })).toThrow(TypeError);
  });

  it("shows in the wire format, and any node can show the map", () => {
    const [, , newest] = programs();
    const events = [newest.mutate((map) => map.title.set("t")), newest.mutate((map) => map.visits.increment(7))];
    const state = third.encode(newest.state as never);
    expectGolden("schema-map", {
      ...Object.fromEntries(events.map((event, index) => [`delta ${index}`, toHex(event?.delta ?? new Uint8Array())])),
      state: toHex(state),
    });
    const dynamic = builtinTypes.find(({ name }) => name === third.name);
    expect(JSON.stringify(dynamic?.value(dynamic.decode(state)))).toBe('{"$schema":[[3,2]],"title":"t","visits":7}');
  });
});
