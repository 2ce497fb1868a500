import { VersionVector, createActor } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import { increments } from "../nodes.test-support.ts";
import { Tail } from "./tail.ts";

const actor = createActor(new Uint8Array(8), new Uint8Array(8).fill(7));

describe("the tail of a group", () => {
  it("counts what its runs take in memory beside their bytes", () => {
    const tail = new Tail(1200, new VersionVector());
    const runs = Array.from({ length: 5 }, (_, index) => increments(actor, index + 1, 1));
    for (const run of runs) tail.add(run);
    expect(tail.bytes).toBe(runs.slice(2).reduce((sum, { bytes }) => sum + bytes.length + 300, 0));
    expect(tail.since(new VersionVector([[actor, 2]]))).toEqual(runs.slice(2));
    expect(tail.since(new VersionVector([[actor, 1]]))).toBeUndefined();
    tail.reset(new VersionVector([[actor, 5]]));
    expect(tail.bytes).toBe(0);
  });
});
