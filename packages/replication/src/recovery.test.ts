import type { GroupId, StoredGroup } from "@coppice/storage";
import { VersionVector } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import { type RecoverySource, recoverGroups } from "./recovery.ts";
import type { GroupStatus } from "./replica.ts";

/** Stored groups of which it is noted when they are loaded; `bad` cannot be. */
function source(names: readonly string[], journalled: readonly string[] = []): RecoverySource & { loaded: GroupId[] } {
  const loaded: GroupId[] = [];
  return {
    loaded,
    groups: names.map((id) => ({ id, isJournalled: journalled.includes(id) })),
    status: (id) => {
      const phase = loaded.includes(id) ? (id === "bad" ? "failed" : "active") : "stored";
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a status is of no account here
      return { id, phase, degraded: id === "bad", isKnownType: true, events: 2 } as GroupStatus;
    },
    superseded: async () => [],
    load: async (id) => {
      loaded.push(id);
      if (id === "bad") throw new Error("it cannot be read");
    },
    async *contents() {
      yield names.map((id): StoredGroup => {
        const meta = {
          id,
          key: `s${id}!`,
          type: "gcounter",
          epoch: 1,
          vector: new VersionVector(),
          frontier: [],
          time: 0,
        };
        const damaged = id === "bad";
        const record = { id, epoch: 1, position: 0, count: 3, bytes: new Uint8Array(40) };
        return {
          row: { ...meta, digest: [1, 2], snapshotBytes: 99, snapshotAt: 7, journalPosition: 0, degraded: damaged },
          snapshot: undefined,
          records: journalled.includes(id) ? [record, { ...record, position: 3 }] : [],
          nextPosition: 0,
          damage: damaged ? [{ id, record: "journal", action: "quarantined", reason: "it rotted" }] : [],
        };
      });
    },
  };
}

describe("a recovery", () => {
  it("loads groups with a journal first, then in the order that is asked for", async () => {
    const groups = source(["a", "b", "c", "d"], ["c"]);
    const rank = new Map<unknown, number>([["d", 2]]);
    await recoverGroups(groups, { priority: ({ id }) => rank.get(id) ?? 0 });
    expect(groups.loaded).toEqual(["c", "d", "a", "b"]);
  });

  it("goes on when a group cannot be read, and says so", async () => {
    const groups = source(["a", "bad", "c"]);
    const progress: unknown[] = [];
    const report = await recoverGroups(groups, { onProgress: ({ done, total }) => progress.push([done, total]) });
    expect(report).toMatchObject({ recovered: 2, degraded: [], failed: [{ id: "bad" }], stored: [], events: 6 });
    expect(progress).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
  });

  it("that is dry loads nothing, and tells sizes, journals and damage", async () => {
    const groups = source(["a", "bad"], ["a"]);
    const report = await recoverGroups(groups, { dryRun: true });
    expect(groups.loaded).toEqual([]);
    expect(report.recovered).toBe(0);
    expect(report.stored).toMatchObject([
      { id: "a", snapshotBytes: 99, snapshotAt: 7, journalEvents: 6, journalBytes: 80, damage: [], degraded: false },
      { id: "bad", journalEvents: 0, damage: [{ record: "journal", reason: "it rotted" }], degraded: true },
    ]);
  });

  it("ends when it is aborted", async () => {
    const abort = new AbortController();
    abort.abort(new Error("enough"));
    await expect(recoverGroups(source(["a"]), { signal: abort.signal })).rejects.toThrow("enough");
  });
});
