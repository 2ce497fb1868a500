import { Writer } from "@coppice/crdt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GroupRows, VACANT } from "./group-rows.ts";

function recordOf(key: string): Writer {
  const record = new Writer();
  record.string(key);
  record.raw(new Uint8Array(key.length % 7));
  return record;
}

describe("rows", () => {
  it("finds each group by its key whatever was removed before, and gives the places of those to others", () => {
    const steps = fc.array(fc.record({ key: fc.nat(60), isRemoved: fc.boolean() }), { maxLength: 300 });
    fc.assert(
      fc.property(steps, (taken) => {
        const rows = new GroupRows();
        const model = new Map<string, number>();
        let most = 0;
        for (const { key: number, isRemoved } of taken) {
          const key = `s-${number}`;
          const row = model.get(key);
          if (row === undefined) model.set(key, rows.add(key, number, recordOf(key), [number, 1]));
          else if (isRemoved) {
            rows.set(row, VACANT, true);
            rows.remove(row);
            model.delete(key);
          } else rows.replace(row, recordOf(key));
          most = Math.max(most, model.size);
          expect(rows.size).toBe(model.size);
        }
        for (let number = 0; number <= 60; number++) expect(rows.find(`s-${number}`)).toBe(model.get(`s-${number}`));
        for (const [key, row] of model)
          expect([rows.domain(row), rows.digest(row)[0]]).toEqual([+key.slice(2), +key.slice(2)]);
        expect(new Set(rows.taken())).toEqual(new Set(model.values()));
        expect(Math.max(-1, ...model.values())).toBeLessThan(most);
      }),
      { numRuns: 300 },
    );
  });
});
