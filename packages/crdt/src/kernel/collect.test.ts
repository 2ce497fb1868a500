import { describe, expect, it } from "vitest";
import { orMap } from "../or-map.ts";
import { pnCounter } from "../pn-counter.ts";
import { rwSet } from "../rw-set.ts";
import { type TestEvent, assertConvergent, createReplicas, syncAll } from "../testing/index.ts";
import { VersionVector } from "../vector.ts";

const type = orMap(pnCounter);

function made(event: TestEvent | undefined): TestEvent {
  if (event === undefined) throw new Error("an event was to be made");
  return event;
}

/** `a` counts, `b` removes, and `a` counts on before it hears of the removal. */
function setUp() {
  const [a, b, c] = createReplicas(type, 3);
  if (a === undefined || b === undefined || c === undefined) throw new Error("three replicas were asked for");
  a.mutate((map) => map.at("k").increment(5));
  syncAll([a, b, c]);
  const removal = made(b.mutate((map) => map.delete("k")));
  const late = made(a.mutate((map) => map.at("k").increment(2)));
  return { a, b, c, removal, late };
}

describe("collecting dead rows", () => {
  it("an increment that arrives after its row was collected counts with its own amount only", () => {
    const { a, b, c, removal, late } = setUp();
    for (const replica of [a, c]) replica.receive(removal);
    const stable = new VersionVector([
      [a.actor, 1],
      [b.actor, 1],
    ]);
    expect(c.type.gcInfo?.(c.state, stable)).toEqual({ collectable: 1, tombstones: 1 });
    expect([c.collect(stable), a.collect(stable)]).toEqual([1, 0]);
    for (const replica of [b, c]) replica.receive(late);
    assertConvergent([a, b, c]);
    expect({ ...c.value() }).toEqual({ k: 2 });
    made(a.mutate((map) => map.at("k").increment(10)));
    syncAll([a, b, c]);
    assertConvergent([a, b, c]);
    expect({ ...c.value() }).toEqual({ k: 12 });
  });

  it("waits until every replica knows the removal", () => {
    const { a, c, removal } = setUp();
    c.receive(removal);
    const stable = new VersionVector([[a.actor, 1]]);
    expect(c.type.gcInfo?.(c.state, stable)).toEqual({ collectable: 0, tombstones: 1 });
    expect(c.collect(stable)).toBe(0);
  });

  it("leaves nothing of a key whose rows are all gone, and joins with a replica that has them still", () => {
    const { a, b, c, removal, late } = setUp();
    for (const replica of [b, c]) replica.receive(late);
    for (const replica of [a, c]) replica.receive(removal);
    made(c.mutate((map) => map.delete("k")));
    syncAll([a, b, c]);
    const dead = c.type.encode(c.state).length;
    expect(c.collect(c.vector)).toBe(1);
    expect(c.type.encode(c.state).length).toBeLessThan(dead);
    b.joinFrom(c);
    c.joinFrom(a);
    made(a.mutate((map) => map.at("k").increment(1)));
    for (const replica of [b, c]) replica.joinFrom(a, true);
    assertConvergent([a, b, c]);
    expect({ ...c.value() }).toEqual({ k: 1 });
  });

  it("keeps the tombstones of remove-wins sets, and says so", () => {
    const [a] = createReplicas(rwSet(), 1);
    a?.mutate((elements) => elements.delete("x"));
    const stable = a?.vector ?? new VersionVector();
    expect(a?.type.gcInfo?.(a.state, stable)).toEqual({ collectable: 0, tombstones: 1 });
    expect(a?.collect(stable)).toBe(0);
  });
});
