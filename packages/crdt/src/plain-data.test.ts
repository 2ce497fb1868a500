import { describe, expect, it } from "vitest";
import { z } from "zod";
import { dwFlag, ewFlag } from "./flag.ts";
import { gCounter } from "./g-counter.ts";
import { gSet } from "./g-set.ts";
import { jsonMap } from "./json-map.ts";
import type { AnyNestableType } from "./kernel/kernel-type.ts";
import { lwwMap } from "./lww-map.ts";
import { lwwRegister } from "./lww-register.ts";
import { mvRegister } from "./mv-register.ts";
import { orLog } from "./or-log.ts";
import { orMap } from "./or-map.ts";
import { orSet } from "./or-set.ts";
import { fromJSON } from "./plain-data.ts";
import { pnCounter } from "./pn-counter.ts";
import { rwSet } from "./rw-set.ts";
import { schemaMap } from "./schema-map.ts";
import { struct } from "./struct.ts";
import { createReplicas } from "./testing/index.ts";
import { tree } from "./tree.ts";
import { twoPSet } from "./two-p-set.ts";
import type { ValueOf } from "./type.ts";

const everything = struct({
  counter: gCounter,
  signed: pnCounter,
  register: lwwRegister(),
  conflict: mvRegister<number>(),
  enabled: ewFlag,
  disabled: dwFlag,
  grow: gSet<number>(),
  elements: orSet(),
  removing: rwSet<string>(),
  twice: twoPSet<string>(),
  log: orLog<string>(),
  map: lwwMap<number>(),
  nodes: tree<number>(),
  card: schemaMap({ version: 1, fields: { title: z.string(), hits: gCounter } }),
});

const nested = orMap(everything);

const data: ValueOf<typeof nested> = {
  x: {
    counter: 3,
    signed: -4,
    register: { when: new Date(5), big: 7n, raw: Uint8Array.of(1, 2), list: [Number.NaN, -0] },
    conflict: [9],
    enabled: true,
    disabled: true,
    grow: [1, 2],
    elements: ["a", null, 2n],
    removing: ["r"],
    twice: ["t"],
    log: ["one", "two"],
    map: { ["__proto__"]: 1, k: 2 },
    nodes: [{ id: "p", value: 1, children: [{ id: "c", value: 2, children: [] }] }],
    card: { title: "t", hits: 2 },
  },
};

describe("fromJSON", () => {
  it("brings back what a value reads, for every type", () => {
    const [a, b] = createReplicas(nested, 2);
    if (a === undefined || b === undefined) return;
    a.mutate((map) => fromJSON(nested, map, data));
    expect(a.value()["x"]?.register).toEqual(data["x"]?.register);
    expect({ ...a.value()["x"]?.card }).toEqual(data["x"]?.card);
    expect(a.value()["x"]?.nodes).toEqual(data["x"]?.nodes);
    expect(a.value()["x"]?.signed).toBe(-4);
    b.mutate((map) => fromJSON(nested, map, a.value()));
    expect(b.value()).toEqual(a.value());
  });

  it("adds to what is there and leaves out what is absent", () => {
    const [a] = createReplicas(nested, 1);
    const part = { x: { counter: 1, elements: ["z"] } } as unknown as typeof data;
    a?.mutate((map) => fromJSON(nested, map, part));
    a?.mutate((map) => fromJSON(nested, map, part));
    expect(a?.value()["x"]).toMatchObject({ counter: 2, elements: ["z"], log: [], register: undefined });
    const [, b] = createReplicas(nested, 2);
    b?.mutate((map) => fromJSON(nested, map, a?.value() ?? {}));
    expect(b?.value()).toEqual(a?.value());
  });

  it("names the place of what does not fit, and writes nothing", () => {
    const [a] = createReplicas(nested, 1);
    for (const [wrong, message] of [
      [{ x: { counter: 1, log: "text" } }, "a list (at .x.log)"],
      [{ x: [] }, "an object (at .x)"],
      [{ x: { enabled: 1 } }, "a boolean (at .x.enabled)"],
      [{ x: { conflict: [1, 2] } }, "(at .x.conflict)"],
      [{ x: { counter: "1" } }, "safe integer"],
    ] as const) {
      expect(() => a?.mutate((map) => fromJSON(nested, map, wrong as never))).toThrow(message);
    }
    expect(a?.vector.total()).toBe(0);
    expect({ ...a?.value() }).toEqual({});
  });

  it("refuses a type whose parts are not declared", () => {
    const [a] = createReplicas(jsonMap, 1);
    const undeclared: AnyNestableType = jsonMap;
    expect(() => a?.mutate((map) => fromJSON(undeclared, map, {}))).toThrow("the type ormap cannot");
  });
});
