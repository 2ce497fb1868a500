import type { Digest } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import { groupHash, hashText } from "./digest.ts";
import { CELL_WORDS, Sketch } from "./sketch.ts";

/** A set of groups with their digests, and its sketch. */
class Side {
  readonly sketch = new Sketch(1024);
  readonly #digests = new Map<number, Digest>();

  add(name: string, version = 0): void {
    const hash = groupHash(name);
    const digest = hashText(`${name} ${version}`);
    const former = this.#digests.get(hash);
    if (former !== undefined) this.sketch.toggle(hash, former);
    this.sketch.toggle(hash, digest);
    this.#digests.set(hash, digest);
  }

  difference(theirs: Side, cells: number): ReadonlySet<number> | undefined {
    return this.sketch.difference(theirs.sketch.cells(0, cells), (hash) => {
      const digest = this.#digests.get(hash);
      return digest === undefined ? [] : [digest];
    });
  }
}

function sides(common: number, changed: number): { ours: Side; theirs: Side } {
  const [ours, theirs] = [new Side(), new Side()];
  for (let i = 0; i < common; i++) {
    ours.add(`g${i}`);
    theirs.add(`g${i}`, i < changed ? 1 : 0);
  }
  return { ours, theirs };
}

/** How many cells it takes to find `changed` differing groups. */
function cellsNeeded(common: number, changed: number): number {
  const { ours, theirs } = sides(common, changed);
  for (let count = 1; count <= ours.sketch.length; count++) {
    if (ours.difference(theirs, count) !== undefined) return count;
  }
  return Number.POSITIVE_INFINITY;
}

describe("a sketch", () => {
  it("tells exactly what two sets differ in", () => {
    const { ours, theirs } = sides(5000, 20);
    ours.add("only here");
    theirs.add("only there");
    const changed = Array.from({ length: 20 }, (_, i) => `g${i}`);
    const expected = new Set([...changed, "only here", "only there"].map(groupHash));
    expect(ours.difference(theirs, 256)).toEqual(expected);
  });

  it("of equal sets says so with one cell", () => {
    expect(cellsNeeded(1000, 0)).toBe(1);
  });

  it("needs cells in proportion to the difference, whatever the size of the sets", () => {
    for (const changed of [1, 10, 100]) {
      for (const common of [200, 20_000]) expect(cellsNeeded(common, changed)).toBeLessThanOrEqual(3 * changed + 8);
    }
  });

  it("is that of the set as it is now, whatever was in it before", () => {
    const { ours, theirs } = sides(100, 100);
    for (let i = 0; i < 100; i++) theirs.add(`g${i}`, 0);
    expect(ours.difference(theirs, 1024)).toEqual(new Set());
  });

  it("does not take groups that share a hash for one", () => {
    const [ours, theirs] = [new Sketch(64), new Sketch(64)];
    const digests: Digest[] = [
      [1, 2],
      [3, 4],
    ];
    for (const digest of digests) ours.toggle(7, digest);
    theirs.toggle(7, [1, 2]);
    theirs.toggle(7, [5, 6]);
    expect(ours.difference(theirs.cells(0, 64), () => digests)).toEqual(new Set([7]));
  });

  it("ends, and says that it cannot tell, on cells that make no sense", () => {
    const { ours } = sides(100, 0);
    const nonsense = Uint32Array.from({ length: 64 * CELL_WORDS }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
    expect(ours.sketch.difference(nonsense, () => [])).toBeUndefined();
  });
});
