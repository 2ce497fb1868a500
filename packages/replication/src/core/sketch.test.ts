import { describe, expect, it } from "vitest";
import { hashText } from "./digest.ts";
import { Sketch, type SketchItem } from "./sketch.ts";

function item(name: string, version = 0): SketchItem {
  const [high, low] = hashText(name);
  return { hash: (high & 0x1fffff) * 2 ** 32 + low, digest: hashText(`${name} ${version}`) };
}

function sketches(common: number, changed: number): { ours: Sketch; theirs: Sketch } {
  const [ours, theirs] = [new Sketch(), new Sketch()];
  for (let i = 0; i < common; i++) {
    ours.add(item(`g${i}`));
    theirs.add(item(`g${i}`, i < changed ? 1 : 0));
  }
  return { ours, theirs };
}

function cells(sketch: Sketch, count: number): ReturnType<Sketch["cell"]>[] {
  return Array.from({ length: count }, (_, index) => sketch.cell(index));
}

/** How many cells it takes to find `changed` differing groups. */
function cellsNeeded(common: number, changed: number): number {
  const { ours, theirs } = sketches(common, changed);
  for (let count = 1; count <= ours.length; count++) {
    if (ours.difference(cells(theirs, count)) !== undefined) return count;
  }
  return Number.POSITIVE_INFINITY;
}

describe("a sketch", () => {
  it("tells exactly what two sets differ in", () => {
    const { ours, theirs } = sketches(5000, 20);
    ours.add(item("only here"));
    theirs.add(item("only there"));
    const difference = ours.difference(cells(theirs, 256));
    const names = (items: readonly SketchItem[] = []): number[] => items.map(({ hash }) => hash).sort((a, b) => a - b);
    const changed = Array.from({ length: 20 }, (_, i) => item(`g${i}`));
    expect(names(difference?.ours)).toEqual(names([...changed, item("only here")]));
    expect(names(difference?.theirs)).toEqual(names([...changed, item("only there")]));
  });

  it("of equal sets says so with one cell", () => {
    expect(cellsNeeded(1000, 0)).toBe(1);
  });

  it("needs cells in proportion to the difference, whatever the size of the sets", () => {
    for (const changed of [1, 10, 100]) {
      for (const common of [200, 20_000]) expect(cellsNeeded(common, changed)).toBeLessThanOrEqual(2 * changed * 2 + 8);
    }
  });

  it("forgets what is removed", () => {
    const sketch = new Sketch();
    for (let i = 0; i < 100; i++) sketch.add(item(`g${i}`));
    for (let i = 0; i < 100; i++) sketch.remove(item(`g${i}`));
    expect(new Sketch().difference(cells(sketch, sketch.length))).toEqual({ ours: [], theirs: [] });
  });

  it("ends, and says that it cannot tell, on cells that make no sense", () => {
    const { ours } = sketches(100, 0);
    const nonsense = Array.from({ length: 64 }, (_, i) => ({ ...item(`x${i}`), check: i, count: (i % 3) - 1 }));
    expect(ours.difference(nonsense)).toBeUndefined();
  });
});
