import { describe, expect, it } from "vitest";
import type { StoredGroup } from "./group-storage.ts";
import { createGroupStore } from "./group-store.ts";
import { collect, dump, meta, openStore, record, snapshot } from "./group-store.test-support.ts";
import { memoryStorage } from "./memory.ts";

const G = ["words", "a"];
const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

describe("a group store", () => {
  it("gives back what was committed, and undefined for what was not", async () => {
    const { store } = await openStore();
    expect(await store.load(G)).toBeUndefined();
    expect(await store.row(G)).toBeUndefined();
    await store.commit({ created: [meta(G)], records: [record(G, 0, 2), record(G, 2)] });
    await store.commit({ snapshots: [snapshot(G, 3)], records: [record(G, 3, 4)] });
    const group = await store.load(G);
    expect(text(group?.snapshot?.body)).toBe("state 3");
    expect(group?.snapshot).toMatchObject({
      id: G,
      type: "counter",
      epoch: 1,
      time: 1003,
      digest: [3, 1],
      journalPosition: 3,
    });
    expect(group?.snapshot?.vector.toJSON()).toEqual(meta(G, 3).vector.toJSON());
    expect(group?.records.map(({ position, count, bytes }) => [position, count, text(bytes)])).toEqual([
      [3, 4, "events 3+4"],
    ]);
    expect(group).toMatchObject({ nextPosition: 7, damage: [] });
    expect(await store.row(G)).toMatchObject({
      id: G,
      journalPosition: 3,
      degraded: false,
      snapshotAt: 1_800_000_000_000,
    });
    expect((await store.row(G))?.snapshotBytes).toBeGreaterThan(10);
  });

  it("has its backend for itself until it is closed, or its backend is", async () => {
    const backend = memoryStorage();
    const [first, second, third] = [createGroupStore(backend), createGroupStore(backend), createGroupStore(backend)];
    const opening = first.open();
    await expect(second.open()).rejects.toMatchObject({ code: "LOCKED" });
    await opening;
    await expect(second.open()).rejects.toMatchObject({ code: "LOCKED" });
    await first.commit({ created: [meta(G)] });
    await first.close();
    await second.open();
    expect(await second.load(G)).toBeDefined();
    await backend.close();
    await third.open();
    await second.close();
    expect(await third.load(G)).toBeDefined();
  });

  it("keeps two generations and the journal back to the older one, and no more", async () => {
    const { store, backend } = await openStore();
    await store.commit({ created: [meta(G)] });
    for (let position = 0; position < 10; position++) {
      await store.commit({ records: [record(G, position)], snapshots: [snapshot(G, position + 1)] });
    }
    const keys = (await collect(backend.scan())).map(({ key }) => key.charAt(0));
    expect(keys).toEqual(["c", "c"]);
    expect(await collect(backend.listLogs())).toEqual([expect.objectContaining({ first: 9, last: 9 })]);
  });

  it("keeps a body that is not small apart from its record, as long as it is not small", async () => {
    const { store, backend } = await openStore(memoryStorage(), { compression: "none" });
    const kinds = async (): Promise<string> => (await collect(backend.scan())).map(({ key }) => key.charAt(0)).join("");
    const take = async (seq: number, bytes: number): Promise<void> => {
      const body = new Uint8Array(bytes).fill(seq);
      await store.commit({ snapshots: [{ ...snapshot(G, seq, 0), body }] });
      expect((await store.load(G))?.snapshot?.body).toEqual(body);
      expect((await collect(store.loadGroups()))[0]?.snapshot?.body).toEqual(body);
      expect((await store.row(G))?.snapshotBytes).toBeGreaterThan(bytes);
    };
    await take(1, 512);
    expect(await kinds()).toBe("cc");
    await take(2, 513);
    expect(await kinds()).toBe("ccs");
    await take(3, 5000);
    await take(4, 6000);
    expect(await kinds()).toBe("ccss");
    await take(5, 5);
    await take(6, 6);
    expect(await kinds()).toBe("cc");
    await take(7, 7000);
    await store.commit({ deletions: [meta(G, 7, 2)] });
    expect(await kinds()).toBe("cc");
  });

  it("writes new groups in any number, and to each of them again", async () => {
    const { store } = await openStore();
    const ids = Array.from({ length: 10_100 }, (_, index) => ["g", index]);
    const [first, last] = [
      ["g", 0],
      ["g", 10_099],
    ];
    await store.commit({ snapshots: ids.map((id) => snapshot(id, 1, 0)) });
    // The second time within one commit, while its state is not kept.
    const twice = ["g", "twice"];
    await store.commit({ created: [meta(twice)], records: [record(twice, 0)], snapshots: [snapshot(twice, 1)] });
    for (const id of [first, last]) await store.commit({ snapshots: [snapshot(id, 2, 0)] });
    expect(text((await store.load(last))?.snapshot?.body)).toBe("state 2");
    expect(await store.load(twice)).toMatchObject({ nextPosition: 1, records: [], snapshot: { journalPosition: 1 } });
    expect((await collect(store.listGroups())).length).toBe(10_101);
  });

  it("loads all living groups in one scan, as load does, with what is in their journals", async () => {
    const { store } = await openStore();
    const ids = Array.from({ length: 1500 }, (_, index) => ["g", index]);
    await store.commit({ created: ids.map((id) => meta(id)), records: ids.slice(0, 3).map((id) => record(id, 0, 2)) });
    await store.commit({ snapshots: ids.slice(2, 1400).map((id, index) => snapshot(id, 1, index === 0 ? 1 : 0)) });
    await store.commit({ deletions: [meta(["g", 7], 1, 2)] });
    const plain = ({ row, ...group }: StoredGroup): unknown => ({ ...group, id: row.id, vector: row.vector });
    const found = (await collect(store.loadGroups({ prefix: ["g"] }))).map(plain);
    const loaded = (await Promise.all(ids.map((id) => store.load(id)))).filter((group) => group !== undefined);
    expect(found).toHaveLength(1499);
    expect(found).toEqual(loaded.map(plain));
    // What is written while the scan runs is there, too.
    const pages = store.loadGroups()[Symbol.asyncIterator]();
    await pages.next();
    await store.commit({ records: [record(["g", 1499], 0)] });
    let last: StoredGroup | undefined;
    for (let next = await pages.next(); next.done !== true; next = await pages.next()) last = next.value.at(-1);
    expect(last).toMatchObject({ nextPosition: 1, records: [{ position: 0 }] });
  });

  it("finds a group that is stored, whatever it knows of what is not", async () => {
    const backend = memoryStorage();
    const { store } = await openStore(backend);
    const ids = Array.from({ length: 3000 }, (_, index) => `g${index}`);
    await store.commit({ snapshots: ids.map((id) => snapshot(id, 1, 0)) });
    await store.close();
    await store.open();
    await collect(store.listGroups());
    // An epoch that is stored already is not begun anew.
    await store.commit({ created: [...ids, "new"].map((id) => meta(id)) });
    expect((await collect(store.loadGroups())).filter((group) => group.snapshot === undefined)).toHaveLength(1);
  });

  it("replays from a snapshot taken within a record", async () => {
    const { store } = await openStore();
    await store.commit({ created: [meta(G)], records: [record(G, 0, 3), record(G, 3, 3), record(G, 6, 3)] });
    await store.commit({ snapshots: [snapshot(G, 4)] });
    expect((await store.load(G))?.records.map(({ position }) => position)).toEqual([3, 6]);
    await store.commit({ records: [record(G, 9)], snapshots: [snapshot(G, 9)] });
    expect((await store.load(G))?.records.map(({ position }) => position)).toEqual([9]);
  });

  it("continues after a restart, also when nothing was loaded", async () => {
    const backend = memoryStorage();
    const first = await openStore(backend);
    await first.store.commit({
      created: [meta(G)],
      records: [record(G, 0), record(G, 1)],
      snapshots: [snapshot(G, 1)],
    });
    await first.store.close();
    const { store } = await openStore(backend);
    await store.commit({ records: [record(G, 2)] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 3, records: [{ position: 1 }, { position: 2 }] });
  });

  it("refuses what does not continue the journal, and takes what was committed with it", async () => {
    const { store } = await openStore();
    const results = await Promise.allSettled([
      store.commit({ created: [meta(G)], records: [record(G, 0)] }),
      store.commit({ records: [record(G, 5)] }),
      store.commit({ records: [record(G, 1)] }),
      store.commit({ records: [record("unknown", 0)] }),
      store.commit({ snapshots: [snapshot(G, 9)] }),
      store.commit({ records: [record(G, 2, 0)] }),
      store.commit({ created: [meta("x", 0, 2)] }),
    ]);
    const outcomes = results.map((result) => (result.status === "fulfilled" ? "ok" : (result.reason as Error).name));
    expect(outcomes).toEqual(["ok", "TypeError", "ok", "TypeError", "TypeError", "TypeError", "TypeError"]);
    expect(await store.load(G)).toMatchObject({ nextPosition: 2 });
  });

  it("refuses states and events that are no bytes, and more events than can be counted", async () => {
    const { store } = await openStore();
    for (const bytes of [undefined, null, "text", [1, 2], new ArrayBuffer(3)] as unknown as Uint8Array[]) {
      for (const commit of [
        { created: [meta(G)], records: [{ ...record(G, 0), bytes }] },
        { snapshots: [{ ...snapshot(G, 1, 0), body: bytes }] },
        { superseded: [{ ...snapshot(G, 1, 0), body: bytes }] },
      ]) {
        await expect(store.commit(commit)).rejects.toBeInstanceOf(TypeError);
      }
    }
    await store.commit({ created: [meta(G)], records: [record(G, 0, Number.MAX_SAFE_INTEGER)] });
    const more = { records: [record(G, Number.MAX_SAFE_INTEGER, 1)] };
    await expect(store.commit(more)).rejects.toBeInstanceOf(TypeError);
    expect(await store.load(G)).toMatchObject({ nextPosition: Number.MAX_SAFE_INTEGER });
  });

  it("commits in the order of the calls, however long compressing takes", async () => {
    const { store } = await openStore();
    const large = new Uint8Array(300_000).fill(7);
    const commits = [store.commit({ created: [meta(G)], records: [{ ...record(G, 0), bytes: large }] })];
    for (let position = 1; position < 20; position++) commits.push(store.commit({ records: [record(G, position)] }));
    await Promise.all(commits);
    const group = await store.load(G);
    expect(group?.nextPosition).toBe(20);
    expect(group?.records[0]?.bytes.every((byte) => byte === 7) && group.records[0].bytes.length).toBe(300_000);
  });

  it("is not changed by what the caller does with its vectors and bytes after the call", async () => {
    const { store } = await openStore();
    const taken = snapshot(G, 3, 0);
    const commit = store.commit({ snapshots: [taken] });
    for (const [actor] of taken.vector) taken.vector.set(actor, 99);
    await commit;
    expect((await store.row(G))?.vector.toJSON()).toEqual(meta(G, 3).vector.toJSON());
  });

  it("compresses bodies when that pays", async () => {
    for (const compression of ["auto", "deflate", "none"] as const) {
      const { store } = await openStore(memoryStorage(), { compression });
      const body = new Uint8Array(10_000).fill(1);
      const noise = Uint8Array.from({ length: 2000 }, (_, index) => (index * index * 2_654_435_761) >>> 13);
      await store.commit({
        snapshots: [
          { ...snapshot("a", 1, 0), body },
          { ...snapshot("b", 1, 0), body: noise },
        ],
      });
      expect((await store.load("a"))?.snapshot?.body).toEqual(body);
      expect((await store.load("b"))?.snapshot?.body).toEqual(noise);
      const { snapshotBytes } = (await store.row("a")) ?? { snapshotBytes: 0 };
      expect(snapshotBytes > 10_000).toBe(compression === "none");
    }
  });

  it("lists rows by prefix in the order of keys, tombstones only on request", async () => {
    const { store } = await openStore();
    const ids = ["b", ["a", 2], ["a", 10], ["b", "x"], "a"];
    await store.commit({ created: ids.map((id) => meta(id)) });
    await store.commit({ deletions: [meta("b", 1, 2)] });
    const list = async (options?: Parameters<typeof store.listGroups>[0]): Promise<unknown[]> =>
      (await collect(store.listGroups(options))).map(({ id }) => id);
    expect(await list()).toEqual(["a", ["a", 2], ["a", 10], ["b", "x"]]);
    expect(await list({ prefix: ["a"] })).toEqual([
      ["a", 2],
      ["a", 10],
    ]);
    expect(await list({ deleted: true, prefix: "" })).toEqual(["a", "b"]);
    const aborted = AbortSignal.abort();
    await expect(list({ signal: aborted })).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("lists the groups whose journal goes on behind their newest snapshot", async () => {
    const { store } = await openStore();
    await store.commit({ created: [meta("a"), meta("b"), meta("c"), meta("d")] });
    await store.commit({ records: ["a", "b", "c"].map((id) => record(id, 0)) });
    await store.commit({ snapshots: [snapshot("b", 1)] });
    await store.commit({ deletions: [meta("c", 1, 2)] });
    expect(await collect(store.listJournalled())).toEqual(["a"]);
  });

  it("keeps the node record and secrets", async () => {
    const { store } = await openStore();
    expect(await store.readNode()).toBeUndefined();
    const node = { nodeId: "node-ä", starts: 3, clean: true, peers: ["/ip4/127.0.0.1/tcp/1", "x"] };
    await store.writeNode(node);
    expect(await store.readNode()).toEqual(node);
    await store.writeSecret("key", Uint8Array.of(1));
    expect(await store.readSecret("key")).toEqual(Uint8Array.of(1));
  });

  it("writes commits one by one that together are more than the backend takes", async () => {
    const backend = memoryStorage();
    const capabilities = { ...backend.capabilities, atomicOpsMax: 12, valueBytesMax: 1000 };
    const { store } = await openStore(Object.assign(backend, { capabilities }), { compression: "none" });
    const ids = Array.from({ length: 10 }, (_, index) => ["w", index]);
    const large = { ...snapshot("large", 1, 0), body: new Uint8Array(2000) };
    const commits = ids.map((id) => store.commit({ created: [meta(id)], records: [record(id, 0), record(id, 1)] }));
    const results = await Promise.allSettled([
      ...commits,
      store.commit({ snapshots: [large] }),
      store.commit({ records: [record(["w", 0], 7)] }),
      store.commit({ created: Array.from({ length: 7 }, (_, index) => meta(["v", index])) }),
    ]);
    const reasons = results.map((result) => (result.status === "rejected" ? String(result.reason) : ""));
    expect(reasons.slice(0, 10).join("")).toBe("");
    expect(reasons.slice(10)).toEqual([
      expect.stringMatching(/TypeError: a value of 20\d\d bytes, at most 1000/),
      expect.stringMatching(/TypeError: a record of w\/:0 is at 7, the journal ends at 2/),
      expect.stringMatching(/TypeError: 14 operations in one write, at most 12/),
    ]);
    expect((await collect(store.listGroups())).map(({ id }) => id)).toEqual(ids);
    expect(await store.load(["w", 9])).toMatchObject({ nextPosition: 2 });
  });

  it("refuses bad options and what is no backend", () => {
    expect(() => createGroupStore({} as never)).toThrow(expect.objectContaining({ code: "INVALID_ADAPTER" }));
    for (const options of [null, 5, { compression: "lzma" }, { compresion: "none" }, { now: 5 }, { onDamage: 5 }]) {
      expect(() => createGroupStore(memoryStorage(), options as never)).toThrow(
        expect.objectContaining({ code: "INVALID_OPTIONS" }),
      );
    }
  });
});

describe("deletion", () => {
  it("leaves a tombstone and nothing else, and is idempotent", async () => {
    const { store, backend } = await openStore();
    await store.commit({ created: [meta(G)], records: [record(G, 0)], snapshots: [snapshot(G, 1)] });
    await store.commit({ records: [record(G, 1)], snapshots: [snapshot(G, 2)] });
    await store.commit({ deletions: [meta(G, 2, 2)] });
    const after = await dump(backend);
    expect(after.map((line) => line.charAt(0))).toEqual(["c", "c"]);
    expect(await store.load(G)).toBeUndefined();
    expect(await store.row(G)).toMatchObject({ epoch: 2 });
    await store.commit({ deletions: [meta(G, 2, 2)] });
    expect(await dump(backend)).toEqual(after);
  });

  it("is not undone by late writes of the deleted epoch", async () => {
    const { store, backend } = await openStore();
    await store.commit({ created: [meta(G)] });
    await store.commit({ deletions: [meta(G, 0, 2)] });
    const after = await dump(backend);
    await store.commit({ created: [meta(G)], records: [record(G, 0)], snapshots: [snapshot(G, 1)] });
    expect(await dump(backend)).toEqual(after);
  });

  it("is followed by a new epoch from position 0", async () => {
    const { store } = await openStore();
    await store.commit({ created: [meta(G)], records: [record(G, 0, 5)] });
    await store.commit({ deletions: [meta(G, 5, 2)] });
    await store.commit({ created: [meta(G, 0, 3)], records: [record(G, 0, 1, 3)] });
    expect(await store.load(G)).toMatchObject({ row: { epoch: 3 }, nextPosition: 1, records: [{ epoch: 3 }] });
  });

  it("of a long journal is swept after the commit, and again at open when a crash came between", async () => {
    const backend = memoryStorage();
    const { store } = await openStore(backend);
    const records = Array.from({ length: 3000 }, (_, position) => record(G, position));
    await store.commit({ created: [meta(G)], records });
    await store.commit({ deletions: [meta(G, 1, 2)] });
    expect((await dump(backend)).map((line) => line.charAt(0))).toEqual(["c", "c"]);
    // A crash right behind the commit point: the marker and the leftovers are there.
    const key = (await collect(backend.scan({ prefix: "c" })))[0]?.key.slice(1, -1) ?? "";
    await backend.write([
      { op: "put", key: `x${key}`, value: Uint8Array.of(1) },
      { op: "append", log: `${key}11`, seq: 7, value: Uint8Array.of(1) },
      { op: "put", key: `s${key}111`, value: Uint8Array.of(1) },
      { op: "put", key: `q${key}s1111!abc`, value: Uint8Array.of(1) },
    ]);
    await store.close();
    await store.open();
    expect((await dump(backend)).map((line) => line.charAt(0))).toEqual(["c", "c", "j"]);
  });

  it("that is swept after the group was created again leaves the new epoch alone", async () => {
    const backend = memoryStorage();
    const { store } = await openStore(backend);
    await store.commit({ created: [meta(G)], records: [record(G, 0)] });
    await store.commit({ deletions: [meta(G, 1, 2)] });
    await store.commit({ created: [meta(G, 0, 3)], records: [record(G, 0, 1, 3)], snapshots: [snapshot(G, 0, 0, 3)] });
    const key = (await collect(backend.scan({ prefix: "c" })))[0]?.key.slice(1, -1) ?? "";
    await backend.write([
      { op: "put", key: `x${key}`, value: Uint8Array.of(1) },
      { op: "append", log: `${key}11`, seq: 0, value: Uint8Array.of(1) },
    ]);
    const before = await dump(backend);
    await store.close();
    await store.open();
    const left = before.filter((line) => !line.startsWith("x") && !line.startsWith(`${key}11 `));
    expect(await dump(backend)).toEqual(left);
    expect(await store.load(G)).toMatchObject({ nextPosition: 1, records: [{ epoch: 3 }] });
  });
});
