import { parseActor } from "@coppice/crdt";
import { encodeGroupId } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import { ChangeLog } from "./change-log.ts";
import { GroupRows } from "./group-rows.ts";
import { Group, emptyMeta } from "./group.ts";

const ACTOR = parseActor("a".repeat(32));

/** A group that has changed `times` times. */
function changed(name: string, times: number): Group {
  const key = encodeGroupId(name);
  const meta = emptyMeta(name, key, "gcounter", 1);
  meta.vector.set(ACTOR, times);
  const sizes = { snapshotAt: 0, snapshotBytes: 0, journalBytes: 0, issued: undefined };
  const resting = { key, meta: { ...meta, digest: [times, 0] as const }, isStored: true, isPaused: false, ...sizes };
  return new Group(new GroupRows(), 0, "", resting);
}

describe("a change log", () => {
  it("tells each group once, in the order of the latest changes", () => {
    const log = new ChangeLog();
    const groups = ["a", "b", "c"].map((name) => changed(name, 1));
    const keys = groups.map(({ key }) => key);
    for (const group of groups) log.note(group);
    log.note(groups[0] as Group);
    expect(log.since(0, 10)?.keys).toEqual(keys);
    expect(log.since(1, 10)?.keys).toEqual(keys.slice(1));
    const page = log.since(0, 2);
    expect(page).toMatchObject({ keys: keys.slice(0, 2), next: 2, hasMore: true });
    expect(log.since(page?.next ?? 0, 2)).toMatchObject({ keys: keys.slice(2), next: 3, hasMore: false });
    expect(log.since(3, 10)).toMatchObject({ keys: [], next: 3, hasMore: false });
    expect(log.since(4, 10)).toBeUndefined();
  });

  it("is bounded: whoever is too far behind starts over", () => {
    const log = new ChangeLog();
    for (let index = 0; index < 100_001; index++) log.note(changed(`g${index}`, 1));
    expect(log.since(0, 10)).toBeUndefined();
    expect(log.since(99_999, 10)?.keys).toEqual(["g99999", "g100000"].map(encodeGroupId));
    expect(log.since(20_000, 100_000)?.keys).toHaveLength(80_001);
  });
});
