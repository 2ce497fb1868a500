import { VersionVector, createActor } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import { increments } from "../nodes.test-support.ts";
import { Tail } from "./tail.ts";

const actor = createActor(new Uint8Array(8), new Uint8Array(8).fill(7));

describe("the tail of a group", () => {
  it("counts what its runs take in memory beside their bytes", () => {
    const tail = new Tail(new VersionVector());
    const runs = Array.from({ length: 5 }, (_, index) => increments(actor, index + 1, 1));
    for (const run of runs) tail.add(run);
    tail.trim(200);
    expect(tail.bytes).toBe(runs.slice(2).reduce((sum, { bytes }) => sum + bytes.length + 32, 0));
    expect(tail.since(new VersionVector([[actor, 2]]))).toEqual(runs.slice(2));
    expect(tail.since(new VersionVector([[actor, 1]]))).toBeUndefined();
    tail.reset(new VersionVector([[actor, 5]]));
    expect(tail.bytes).toBe(0);
  });

  it("gives back runs as they were, small and large, and knows them again", () => {
    const tail = new Tail(new VersionVector());
    const runs = [increments(actor, 1, 1), increments(actor, 2, 300), increments(actor, 302, 2)];
    for (const run of runs) tail.add(run);
    const since = tail.since(new VersionVector()) ?? [];
    expect(since.map(({ bytes }) => bytes)).toEqual(runs.map(({ bytes }) => bytes));
    expect(tail.bytes).toBe(runs.reduce((sum, { bytes, count }) => sum + bytes.length + (count > 99 ? 300 : 32), 0));
    for (const run of runs) expect(tail.contradicts(run)).toBe(false);
    expect(tail.contradicts(increments(actor, 1, 1, [], 2))).toBe(true);
    expect(tail.contradicts(increments(actor, 2, 300, [], 2))).toBe(true);
    expect(tail.contradicts(increments(actor, 301, 3, [], 2))).toBe(false);
  });
});
