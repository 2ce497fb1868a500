import { describe, expect, it } from "vitest";
import { ChangeLog } from "./change-log.ts";

describe("a change log", () => {
  it("tells each group once, in the order of the latest changes", () => {
    const log = new ChangeLog();
    for (const key of ["a", "b", "c"]) log.note(key);
    expect(log.since(0, 10)?.keys).toEqual(["a", "b", "c"]);
    expect(log.since(1, 10)?.keys).toEqual(["b", "c"]);
    const page = log.since(0, 2);
    expect(page).toMatchObject({ keys: ["a", "b"], next: 2, hasMore: true });
    expect(log.since(page?.next ?? 0, 2)).toMatchObject({ keys: ["c"], next: 3, hasMore: false });
    expect(log.since(3, 10)).toMatchObject({ keys: [], next: 3, hasMore: false });
    expect(log.since(4, 10)).toBeUndefined();
    log.note("a");
    expect(log.since(0, 10)).toEqual({ keys: ["b", "c", "a"], next: 4, hasMore: false });
    expect(log.since(3, 10)?.keys).toEqual(["a"]);
  });

  it("is bounded: whoever is too far behind starts over", () => {
    const log = new ChangeLog();
    for (let index = 0; index < 100_001; index++) log.note(`g${index}`);
    expect(log.since(0, 10)).toBeUndefined();
    expect(log.since(99_999, 10)?.keys).toEqual(["g99999", "g100000"]);
    expect(log.since(20_000, 100_000)?.keys).toHaveLength(80_001);
  });
});
