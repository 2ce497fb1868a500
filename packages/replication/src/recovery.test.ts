import type { GroupId, StoredGroup } from "@coppice/storage";
import { VersionVector, createActor } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import type { GroupView } from "./core/group.ts";
import { type RecoverySource, recoverGroups } from "./recovery.ts";
import type { GroupStatus } from "./replica.ts";

interface Watched extends RecoverySource {
  readonly loaded: GroupId[];
  /** Those that a scan brought. */
  readonly adopted: GroupId[];
}

const TWO_EVENTS = new VersionVector([[createActor(new Uint8Array(8), new Uint8Array(8)), 2]]);

/** A group whose id is also its key. */
function view(key: string, phase: GroupView["phase"], isJournalled = false): GroupView {
  const about = { id: key, key, typeName: "gcounter", phase, isStored: true, isUnsettled: isJournalled };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a view is of no account here
  return { ...about, isDegraded: phase === "failed", vector: TWO_EVENTS } as GroupView;
}

/** Stored groups of which it is noted when they are loaded; `bad` cannot be, and a scan does not bring the `stale`. */
function source(
  names: readonly string[],
  journalled: readonly string[] = [],
  stale: readonly string[] = names,
): Watched {
  const loaded: GroupId[] = [];
  const adopted: GroupId[] = [];
  const group = (key: string): GroupView => {
    const phase = loaded.includes(key) ? (key === "bad" ? "failed" : "active") : "stored";
    return view(key, phase, journalled.includes(key));
  };
  return {
    loaded,
    adopted,
    checkOpen: () => {},
    groups: () => names.map(group),
    group,
    isKnownType: () => true,
    adopt: (page) => {
      const keys = page.map(({ row }) => row.key).filter((key) => !stale.includes(key) && !loaded.includes(key));
      adopted.push(...keys);
      loaded.push(...keys);
      return keys;
    },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a status is of no account here
    status: ({ id, phase }) => ({ id, phase }) as GroupStatus,
    superseded: async () => [],
    load: async (key) => {
      loaded.push(key);
      if (key === "bad") throw new Error("it cannot be read");
    },
    async *contents() {
      yield names.map((id): StoredGroup => {
        const meta = {
          id,
          key: id,
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

  it("ends with what is thrown at its progress, and loads nothing more", async () => {
    const ids = Array.from({ length: 2000 }, (_, index) => `g${index}`);
    const groups = source(ids, ids);
    const failed = recoverGroups(groups, {
      onProgress: ({ done }) => {
        if (done === 1) throw new Error("enough");
      },
    });
    await expect(failed).rejects.toThrow("enough");
    const { length } = groups.loaded;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(groups.loaded).toHaveLength(length);
    expect(length).toBeLessThan(600);
  });

  it("goes on when a group cannot be read, and says so", async () => {
    const groups = source(["a", "bad", "c"]);
    const progress: unknown[] = [];
    const report = await recoverGroups(groups, { onProgress: ({ done, total }) => progress.push([done, total]) });
    expect(report).toMatchObject({ groups: 3, recovered: 2, degraded: [], stored: [], events: 6 });
    expect(report.failed).toMatchObject([{ id: "bad" }]);
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

  it("takes from one scan those that come last, and loads the others before", async () => {
    const groups = source(["a", "b", "c", "d", "e"], ["c"], []);
    const progress: unknown[] = [];
    const report = await recoverGroups(groups, {
      priority: ({ id }) => (id === "d" ? 2 : 0),
      onProgress: ({ done, group }) => progress.push([done, group.id]),
    });
    expect(groups.loaded).toEqual(["c", "d", "a", "b", "e"]);
    expect(groups.adopted).toEqual(["a", "b", "e"]);
    expect(progress).toEqual(["c", "d", "a", "b", "e"].map((id, index) => [index + 1, id]));
    expect(report.recovered).toBe(5);
  });

  it("loads one by one what a scan does not bring, and when those that come last are few", async () => {
    const stale = source(["a", "b", "c"], [], ["b"]);
    expect(await recoverGroups(stale, {})).toMatchObject({ recovered: 3 });
    expect(stale.loaded).toEqual(["a", "c", "b"]);
    const few = source(["a", "b", "c", "d", "e"], [], []);
    await recoverGroups(few, { priority: ({ id }) => "edcba".indexOf(String(id)) });
    expect([few.loaded, few.adopted]).toEqual([["a", "b", "c", "d", "e"], []]);
  });

  it("goes on group by group when a scan breaks off", async () => {
    const groups = source(["a", "b"], [], []);
    groups.contents = async function* () {
      yield* [];
      throw new Error("a page cannot be read");
    };
    expect(await recoverGroups(groups, {})).toMatchObject({ recovered: 2 });
    expect(groups.loaded).toEqual(["a", "b"]);
  });

  it("counts what was unloaded again for want of room, and not what was not read", async () => {
    const groups = source(["a", "b", "c"], [], ["b"]);
    groups.load = async () => {
      throw new Error("the storage did not answer");
    };
    groups.group = (key) => view(key, "stored");
    expect(await recoverGroups(groups, {})).toMatchObject({ recovered: 2, failed: [], degraded: [] });
  });

  it("ends when it is aborted", async () => {
    const abort = new AbortController();
    abort.abort(new Error("enough"));
    await expect(recoverGroups(source(["a"]), { signal: abort.signal })).rejects.toThrow("enough");
  });
});
