import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { VersionVector, createActor, gCounter } from "@coppice/crdt";
import { type CatalogueRow, type GroupId, encodeGroupId } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import { groupHash } from "./digest.ts";
import { GroupDirectory } from "./group-directory.ts";
import { emptyMeta } from "./group.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { ReplicationServer } from "./replication-server.ts";
import { RunBuilders } from "./run-builder.ts";

const actor = createActor(new Uint8Array(8), new Uint8Array(8).fill(7));

function stored(index: number, seq = 1): CatalogueRow {
  const id = ["words", `group-${index}`] as const;
  const key = encodeGroupId(id);
  const meta = emptyMeta(id, key, "gcounter", 1);
  const vector = new VersionVector([[actor, seq]]);
  const digest = [index, seq] as const;
  return {
    ...meta,
    key,
    vector,
    frontier: [actor],
    time: 5000 + index,
    digest,
    snapshotBytes: 100,
    snapshotAt: 2 ** 41,
    journalPosition: seq,
    degraded: false,
  };
}

function directory(groups: number): GroupDirectory {
  const made = new GroupDirectory(() => true);
  for (let index = 0; index < groups; index++) made.addStored(stored(index), false);
  return made;
}

const keyOf = (index: number): string => encodeGroupId(["words", `group-${index}`]);

function serverFor(key: string, row: CatalogueRow): ReplicationServer {
  const environment = {
    limits: DEFAULT_LIMITS,
    builders: new RunBuilders(),
    now: () => 1_800_000_000_000,
    checkMembership: () => {},
    actor: () => actor,
    dirty: () => {},
    notice: () => {},
  };
  return new ReplicationServer(environment, key, emptyMeta(row.id, key, row.type, 1), gCounter);
}

/** Once what is referred to weakly may go. */
async function collectGarbage(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

describe("the directory of groups", () => {
  it("finds every group by its key and by its hash, and tells what its catalogue row told", () => {
    const groups = directory(5000);
    expect(groups.size).toBe(5000);
    for (let index = 0; index < 5000; index += 97) {
      const group = groups.get(keyOf(index));
      expect(group).toMatchObject({ id: ["words", `group-${index}`], typeName: "gcounter", epoch: 1, phase: "stored" });
      expect(group).toMatchObject({ domain: "words", isStored: true, snapshotAt: 2 ** 41, snapshotBytes: 100 });
      expect(group?.meta()).toMatchObject({ digest: [index, 1], time: 5000 + index, frontier: [actor] });
      expect(group?.vector.get(actor)).toBe(1);
      expect(groups.withHash(groupHash(keyOf(index)))).toContain(group);
    }
    expect(groups.get(keyOf(5000))).toBeUndefined();
    expect(groups.has(keyOf(5000))).toBe(false);
  });

  it("never has two objects of one group", () => {
    const groups = directory(3);
    const held = groups.get(keyOf(1));
    groups.rest();
    expect(groups.get(keyOf(1))).toBe(held);
    expect(groups.get(keyOf(2))).not.toBe(held);
  });

  it("keeps what a group has become while it rests, the last own event included", () => {
    const groups = directory(3);
    const key = keyOf(1);
    const group = groups.get(key);
    if (group === undefined) throw new Error("not found");
    const server = serverFor(key, stored(1));
    group.activate(server);
    server.mutate(gCounter, (counter: { increment(): void }) => counter.increment());
    group.isCompared = true;
    group.isPaused = true;
    group.journalBytes = 77;
    groups.rest();
    expect(groups.get(key)?.server).toBe(server);
    const digest = server.digest();
    group.unload();
    groups.rest();
    const seen = [...groups.views()].find((view) => view.key === key);
    expect(seen).toMatchObject({ isCompared: true, isPaused: true, journalBytes: 77, phase: "stored" });
    expect(seen?.digest()).toEqual(digest);
    expect(groups.get(key)?.resting().issued).toEqual({ actor, seq: 1 });
  });

  it("keeps a group awake that someone has open or watches", () => {
    const groups = directory(2);
    const group = groups.get(keyOf(0));
    if (group === undefined) throw new Error("not found");
    group.handles = 1;
    group.usedAt = 5;
    groups.rest();
    expect(groups.get(keyOf(0))?.usedAt).toBe(5);
  });

  it("holds all of it together however often groups change at rest", () => {
    const groups = directory(2000);
    for (let round = 1; round <= 7; round++) {
      for (let index = 0; index < 2000; index++) {
        const group = groups.get(keyOf(index));
        if (group !== undefined) group.journalBytes = 100 ** round + index;
      }
      groups.rest();
    }
    for (const view of groups.views()) {
      expect(view.journalBytes).toBe(100 ** 7 + Number(view.key.match(/group-(\d+)/)?.[1]));
    }
  });

  it("counts the groups of each domain that are not deleted, as they come and go", () => {
    const groups = directory(3);
    groups.addStored({ ...stored(3), epoch: 2 }, false);
    groups.add("quiet", "squiet!", "gcounter", 1);
    const count = (): unknown => Object.fromEntries(groups.counts());
    expect(count()).toEqual({ words: 3, "": 1 });
    const group = groups.get(keyOf(1));
    group?.restart(2, "gcounter");
    groups.rest();
    expect(count()).toEqual({ words: 2, "": 1 });
    groups.get(keyOf(1))?.restart(3, "gcounter");
    groups.get(keyOf(3))?.restart(3, "gcounter");
    expect(count()).toEqual({ words: 4, "": 1 });
  });

  it("knows a group no more that was left, and finds every other, however often rows are used again", async () => {
    const groups = directory(40);
    const idOf = (index: number): GroupId => ["passing", `group-${index}`];
    const held = groups.add(idOf(0), encodeGroupId(idOf(0)), "gcounter", 1);
    groups.leave(held);
    for (let index = 1; index < 3000; index++) {
      const key = encodeGroupId(idOf(index));
      groups.leave(groups.add(idOf(index), key, "gcounter", 1));
      expect(groups.get(key) ?? groups.view(key)).toBeUndefined();
      if (index % 500 === 0) await collectGarbage();
      groups.rest();
    }
    expect([groups.size, [...groups.keys()].length, [...groups.views()].length]).toEqual([40, 40, 40]);
    expect(groups.counts().get("passing")).toBe(0);
    for (let index = 0; index < 40; index++) expect(groups.get(keyOf(index))?.meta().digest).toEqual([index, 1]);
    expect(groups.add(idOf(0), held.key, "lww", 1)).toBe(held);
    expect(groups.get(held.key)).toMatchObject({ typeName: "lww", phase: "stored" });
    expect(groups.size).toBe(41);
  });

  it("sums the digests of a domain's groups as they change, and leaves out those that have nothing to tell", () => {
    const groups = directory(3);
    groups.add("s-quiet", "s-quiet!", "gcounter", 1);
    const words = groups.domains.get("words");
    expect(words?.sum()).toEqual({ domain: "words", groups: 3, digest: [0 + 1 + 2, 3] });
    expect(groups.domains.get("")?.sum().groups).toBe(0);
    const group = groups.get(keyOf(1));
    group?.restart(2, "gcounter");
    if (group !== undefined) groups.update(group);
    const tombstone = emptyMeta(["words", "group-1"], keyOf(1), "gcounter", 2).digest;
    expect(words?.sum().digest).toEqual([(0 + 2 + tombstone[0]) >>> 0, (2 + tombstone[1]) >>> 0]);
  });

  it("does not wait for ever for the digest of a group that cannot be read", () => {
    const groups = directory(2);
    groups.addStored(stored(2), true);
    expect(groups.isSettled("words")).toBe(false);
    groups.get(keyOf(2))?.fail();
    expect(groups.isSettled("words")).toBe(true);
  });

  it("lists a domain in pages that agree with the other side's, and says what differs", () => {
    const [ours, theirs] = [directory(9000), directory(9000)];
    theirs.addStored(stored(9001), false);
    const changed = theirs.get(keyOf(7));
    changed?.restart(2, "gcounter");
    if (changed !== undefined) theirs.update(changed);
    const differing = new Set<number>();
    const unknown: number[] = [];
    for (const page of theirs.domains.get("words")?.pages() ?? []) {
      const found = ours.domains.get("words")?.compare(page);
      for (const hash of found?.differing ?? []) differing.add(hash);
      unknown.push(...(found?.unknown ?? []));
    }
    expect(differing).toEqual(new Set([groupHash(keyOf(7))]));
    expect(unknown).toEqual([groupHash(keyOf(9001))]);
  });
});
