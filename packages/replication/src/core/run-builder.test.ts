import { type Actor, createActor } from "@coppice/crdt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RunBuilders } from "./run-builder.ts";
import { Run, RunWalk } from "./run.ts";

const actorOf = (number: number): Actor => createActor(new Uint8Array(8).fill(number), new Uint8Array(8).fill(number));
const SELF = actorOf(1);

const events = fc.array(
  fc.record({
    delta: fc.uint8Array({ minLength: 1, maxLength: 90 }),
    step: fc.integer({ min: 1, max: 2 ** 40 }),
    others: fc.uniqueArray(fc.integer({ min: 2, max: 9 }), { maxLength: 2 }),
  }),
  { minLength: 1, maxLength: 20 },
);

describe("a run", () => {
  it("reads as it was built, from anywhere to anywhere, by a builder that served before", () => {
    const builders = new RunBuilders();
    fc.assert(
      fc.property(events, fc.integer({ min: 1, max: 1e9 }), fc.nat(), fc.nat(), (made, firstSeq, a, b) => {
        const builder = builders.take();
        let time = 0;
        const expected = made.map(({ delta, step, others }, index) => {
          time += step;
          builder.deltas.raw(delta);
          const list = others.map((number) => ({ actor: actorOf(number), seq: number }));
          builder.add({ actor: SELF, seq: firstSeq + index, time }, list);
          return { seq: firstSeq + index, time, delta: [...delta], list };
        });
        const built = builder.take();
        builders.giveBack(builder);
        for (const run of [built, Run.decode(built.bytes)]) {
          expect([run.actor, run.firstSeq, run.count]).toEqual([SELF, firstSeq, made.length]);
          const [from, to] = [a % (made.length + 1), b % (made.length + 1)].toSorted((x, y) => x - y);
          const walk = new RunWalk(run, from ?? 0, to ?? 0);
          const seen = [];
          while (walk.next()) {
            const row = run.dependencies.find(({ index }) => index === walk.seq - firstSeq);
            const delta = [...walk.bytes.subarray(walk.start, walk.end)];
            seen.push({ seq: walk.seq, time: walk.time, delta, list: row?.list ?? [] });
          }
          expect(seen).toEqual(expected.slice(from, to));
          expect(run.timeOf(made.length - 1)).toBe(time);
        }
      }),
      { numRuns: 200 },
    );
  });
});
