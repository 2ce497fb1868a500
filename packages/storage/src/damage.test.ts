import { describe, expect, it } from "vitest";
import type { Op, StorageBackend } from "./backend.ts";
import { checkStorage } from "./check.ts";
import type { GroupSnapshot } from "./group-storage.ts";
import { collect, meta, type Opened, openStore, record, snapshot } from "./group-store.test-support.ts";
import { memoryStorage } from "./memory.ts";

const G = "g";
const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

/**
 * Two generations (at 2 and 4), and a journal of the events 2 to 5 (the older two are truncated). Small bodies are in
 * the group's records, large ones lie apart.
 */
async function stored(bytes = 0): Promise<Opened> {
  const opened = await openStore(memoryStorage(), { compression: "none" });
  const { store } = opened;
  const padded = (seq: number): GroupSnapshot => {
    const body = `state ${seq}`.padEnd(bytes, ".");
    return { ...snapshot(G, seq), body: new TextEncoder().encode(body) };
  };
  await store.commit({ created: [meta(G)], records: [record(G, 0), record(G, 1)] });
  await store.commit({ snapshots: [padded(2)], records: [record(G, 2)] });
  await store.commit({ records: [record(G, 3)] });
  await store.commit({ snapshots: [padded(4)], records: [record(G, 4), record(G, 5)] });
  return opened;
}

const LARGE = 600;
/** Where the older and the newer generation are. */
const [OLDER, NEWER] = ["csg!1", "csg!0"];
const [OLDER_BODY, NEWER_BODY] = ["ssg!111", "ssg!110"];

async function reopen({ backend, store }: Opened): Promise<Opened> {
  await store.close();
  return await openStore(backend);
}

async function quarantined(backend: StorageBackend): Promise<string[]> {
  return (await collect(backend.scan({ prefix: "q" }))).map(({ value }) => Buffer.from(value).toString("hex"));
}

function flips(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length * 8 }, (_, bit) => {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return flipped;
  });
}

function truncations(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length }, (_, length) => bytes.slice(0, length));
}

async function logEntries(backend: StorageBackend): Promise<{ log: string; seq: number; value: Uint8Array }[]> {
  const entries = [];
  for (const { log } of await collect(backend.listLogs())) {
    for (const { seq, value } of await collect(backend.readLog(log, 0))) entries.push({ log, seq, value });
  }
  return entries;
}

describe("a damaged record", () => {
  it("is detected whatever bit flips and wherever it is cut, and the older one takes the newest one's place", async () => {
    const whole = (await (await stored()).backend.get(NEWER)) ?? new Uint8Array();
    for (const value of [...flips(whole), ...truncations(whole)]) {
      const opened = await stored();
      await opened.backend.write([{ op: "put", key: NEWER, value }]);
      const { store, backend, damage } = await reopen(opened);
      const group = await store.load(G);
      expect(text(group?.snapshot?.body)).toBe("state 2");
      expect(group?.records.map(({ position }) => position)).toEqual([2, 3, 4, 5]);
      expect(group).toMatchObject({ nextPosition: 6, damage: [{ id: G, record: "catalogue", action: "quarantined" }] });
      expect(group?.row).toMatchObject({ degraded: true, journalPosition: 2, time: 1002 });
      expect(damage).toEqual(group?.damage);
      expect(await quarantined(backend)).toEqual([Buffer.from(value).toString("hex")]);
    }
  });

  it("of the older generation is found by a listing, too, and the newest one is used", async () => {
    const whole = (await (await stored()).backend.get(OLDER)) ?? new Uint8Array();
    for (const value of [...flips(whole), ...truncations(whole)]) {
      const opened = await stored();
      await opened.backend.write([{ op: "put", key: OLDER, value }]);
      const { store, backend, damage } = await reopen(opened);
      // Which of the two was the newer one is not known any more, so peers are asked.
      expect(await collect(store.listGroups())).toMatchObject([{ id: G, degraded: true, journalPosition: 4 }]);
      expect(damage).toMatchObject([{ id: G, record: "catalogue", action: "quarantined" }]);
      expect(await quarantined(backend)).toEqual([Buffer.from(value).toString("hex")]);
      expect(await store.load(G)).toMatchObject({ nextPosition: 6, damage: [], snapshot: { journalPosition: 4 } });
      await store.commit({ records: [record(G, 6)], snapshots: [snapshot(G, 7)] });
      expect(text((await store.load(G))?.snapshot?.body)).toBe("state 7");
    }
  });

  it("is reported once, stays in quarantine, and what is written then survives a crash", async () => {
    const opened = await stored();
    await opened.backend.write([{ op: "put", key: NEWER, value: Uint8Array.of(1, 2, 3) }]);
    const first = await reopen(opened);
    await first.store.load(G);
    await first.store.commit({ records: [record(G, 6)] });
    const second = await reopen(first);
    expect(await second.store.load(G)).toMatchObject({ nextPosition: 7, damage: [], row: { degraded: true } });
    for (let seq = 7; seq < 12; seq++) {
      await second.store.commit({ records: [record(G, seq)], snapshots: [snapshot(G, seq)] });
    }
    expect(await quarantined(second.backend)).toEqual(["010203"]);
    await second.store.commit({ repaired: [G] });
    expect(await second.store.row(G)).toMatchObject({ degraded: false });
    expect(await (await reopen(second)).store.load(G)).toMatchObject({ nextPosition: 12, row: { degraded: false } });
  });

  it("that is missing is damage, too", async () => {
    const opened = await stored();
    await opened.backend.write([{ op: "del", key: NEWER }]);
    const group = await (await reopen(opened)).store.load(G);
    expect(text(group?.snapshot?.body)).toBe("state 2");
    expect(group?.damage).toMatchObject([{ record: "catalogue", reason: "the record is missing" }]);
  });

  it("in the other slot is damage, too", async () => {
    const opened = await stored();
    const value = (await opened.backend.get(NEWER)) ?? new Uint8Array();
    await opened.backend.write([{ op: "put", key: OLDER, value }]);
    expect(await (await reopen(opened)).store.load(G)).toMatchObject({
      snapshot: { journalPosition: 4 },
      damage: [{ reason: "it belongs into the other slot" }],
    });
  });

  it("after another one: with the second one the snapshots are gone, and the group is still known", async () => {
    let opened = await stored();
    for (const key of [NEWER, OLDER]) {
      await opened.backend.write([{ op: "put", key, value: Uint8Array.of(1) }]);
      opened = await reopen(opened);
      await opened.store.load(G);
    }
    expect(await opened.store.load(G)).toMatchObject({ snapshot: undefined, nextPosition: 0, row: { degraded: true } });
    expect(await opened.store.row(G)).toMatchObject({ type: "counter", epoch: 1, digest: [0, 0], time: 1002 });
    await opened.store.commit({ records: [record(G, 0)], snapshots: [snapshot(G, 9, 1)] });
    expect(text((await opened.store.load(G))?.snapshot?.body)).toBe("state 9");
    // Both records, and the journal.
    expect(await quarantined(opened.backend)).toHaveLength(6);
  });

  it("before the first snapshot, and of a deleted group, has a copy", async () => {
    for (const slot of ["0", "1"]) {
      const opened = await openStore();
      await opened.store.commit({ created: [meta("a"), meta("b"), meta("c")], records: [record("a", 0)] });
      await opened.store.commit({ deletions: [meta("b", 0, 2)], snapshots: [snapshot("d", 1, 0)] });
      for (const { key } of await collect(opened.backend.scan({ prefix: "c" }))) {
        if (key.endsWith(slot)) await opened.backend.write([{ op: "put", key, value: Uint8Array.of(1) }]);
      }
      const { store, damage } = await reopen(opened);
      expect(await store.load("a")).toMatchObject({ nextPosition: 1, row: { type: "counter", degraded: true } });
      expect(await store.row("b")).toMatchObject({ epoch: 2 });
      expect(await collect(store.listGroups({ deleted: true }))).toHaveLength(4);
      expect(damage.map(({ action }) => action)).toEqual(Array(4).fill("quarantined"));
      await store.commit({ repaired: ["a", "b", "c", "d"] });
      expect((await collect(store.listGroups({ deleted: true }))).some(({ degraded }) => degraded)).toBe(false);
    }
  });

  it("with nothing beside it is moved aside, and the group can be stored anew", async () => {
    const opened = await openStore();
    await opened.store.commit({ created: [meta(G)] });
    await opened.backend.write([OLDER, NEWER].map((key) => ({ op: "put", key, value: Uint8Array.of(1) })));
    const { store, damage, backend } = await reopen(opened);
    expect(await store.load(G)).toBeUndefined();
    expect(damage).toMatchObject([{ record: "catalogue" }, { record: "catalogue", action: "quarantined" }]);
    await store.commit({ created: [meta(G)], records: [record(G, 0)] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 1 });
    expect(await quarantined(backend)).toEqual(["01", "01"]);
  });

  it("with nothing beside it takes the group's journal and bodies with it, so that nothing is written over them", async () => {
    const { store, backend } = await openStore();
    await store.commit({ created: [meta("a")], records: [record("a", 0), record("a", 1)] });
    await store.commit({ created: [meta("b")], records: [record("b", 0)] });
    const body = Uint8Array.of(2);
    await backend.write([
      ...["0", "1"].map((slot): Op => ({ op: "put", key: `csa!${slot}`, value: Uint8Array.of(1) })),
      { op: "put", key: "ssa!111", value: body },
    ]);
    await store.close();
    const opened = await openStore(backend);
    expect(await opened.store.load("a")).toBeUndefined();
    await opened.store.commit({ created: [meta("a")], records: [record("a", 0)] });
    expect(await opened.store.load("a")).toMatchObject({ nextPosition: 1, damage: [] });
    expect(await opened.store.load("b")).toMatchObject({ nextPosition: 1, damage: [] });
    expect((await quarantined(backend)).length).toBe(5);
    expect(await checkStorage(backend)).toMatchObject({ damaged: 0 });
  });

  it("under a key that is no group's is moved aside, and the listing goes on", async () => {
    for (const key of ["cs", "cs!", "cs0", "csg!1x"]) {
      const opened = await stored();
      await opened.backend.write([{ op: "put", key, value: Uint8Array.of(1) }]);
      const ids = (await collect(opened.store.listGroups())).map(({ id }) => id);
      expect(ids).toEqual([G]);
      expect(opened.damage).toMatchObject([{ id: undefined, record: "catalogue", action: "quarantined" }]);
      expect(await quarantined(opened.backend)).toEqual(["01"]);
    }
  });

  it("of a newer format is no damage: nothing is touched", async () => {
    const { crc32 } = await import("#platform");
    const opened = await stored();
    const bytes = (await opened.backend.get(NEWER)) ?? new Uint8Array();
    bytes[0] = 9;
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(
      bytes.length - 4,
      crc32(bytes.subarray(0, -4), crc32("sg!")),
      true,
    );
    await opened.backend.write([{ op: "put", key: NEWER, value: bytes }]);
    const { store, backend } = await reopen(opened);
    await expect(store.load(G)).rejects.toMatchObject({ code: "UNSUPPORTED_FORMAT" });
    expect(await backend.get(NEWER)).toEqual(bytes);
    expect(await quarantined(backend)).toEqual([]);
  });
});

describe("a damaged body that lies apart", () => {
  it("is detected whatever bit flips and wherever it is cut, and the previous generation takes its place", async () => {
    const whole = (await (await stored(LARGE)).backend.get(NEWER_BODY)) ?? new Uint8Array();
    for (const value of [...flips(whole.subarray(0, 100)), ...truncations(whole)]) {
      const opened = await stored(LARGE);
      await opened.backend.write([{ op: "put", key: NEWER_BODY, value }]);
      const { store, backend, damage } = await reopen(opened);
      const group = await store.load(G);
      expect(group?.snapshot).toMatchObject({ journalPosition: 2 });
      expect(group).toMatchObject({ nextPosition: 6, damage: [{ id: G, record: "snapshot", action: "quarantined" }] });
      expect(group?.row).toMatchObject({ degraded: true, journalPosition: 2, time: 1002 });
      expect(damage).toEqual(group?.damage);
      expect(await quarantined(backend)).toEqual([Buffer.from(value).toString("hex")]);
    }
  });

  it("and a missing one: what there is of the older generation is used", async () => {
    const opened = await stored(LARGE);
    await opened.backend.write([{ op: "del", key: NEWER_BODY }]);
    const group = await (await reopen(opened)).store.load(G);
    expect(group?.snapshot?.journalPosition).toBe(2);
    expect(group?.damage).toMatchObject([{ record: "snapshot", reason: "the record is missing" }]);
  });

  it("together with a damaged older one leaves nothing to apply events to, and loses no bytes", async () => {
    const opened = await stored(LARGE);
    await opened.backend.write([OLDER_BODY, NEWER_BODY].map((key) => ({ op: "put", key, value: Uint8Array.of(1) })));
    const { store, backend } = await reopen(opened);
    const group = await store.load(G);
    expect(group).toMatchObject({ snapshot: undefined, records: [], nextPosition: 0, row: { degraded: true } });
    expect(group?.row.vector.size).toBe(0);
    expect(group?.damage.map((item) => item.record)).toEqual(["snapshot", "snapshot", "journal"]);
    expect(await quarantined(backend)).toHaveLength(6);
    await store.commit({ records: [record(G, 0)], snapshots: [snapshot(G, 9, 1)] });
    expect(text((await store.load(G))?.snapshot?.body)).toBe("state 9");
    expect(await quarantined(backend)).toHaveLength(6);
  });

  it("a whole one makes up for a damaged record, whatever bit flips and wherever it is cut", async () => {
    for (const key of [OLDER, NEWER]) {
      const whole = (await (await stored(LARGE)).backend.get(key)) ?? new Uint8Array();
      for (const value of [...flips(whole), ...truncations(whole)]) {
        const opened = await stored(LARGE);
        await opened.backend.write([{ op: "put", key, value }]);
        const { store, damage } = await reopen(opened);
        expect(await collect(store.listGroups())).toMatchObject([{ degraded: false, journalPosition: 4, time: 1004 }]);
        expect(damage).toMatchObject([{ id: G, record: "catalogue", action: "rebuilt" }]);
        const group = await store.load(G);
        expect(group).toMatchObject({ nextPosition: 6, damage: [], snapshot: { journalPosition: 4 } });
      }
    }
  });

  it("both of them make up for both records", async () => {
    const opened = await stored(LARGE);
    await opened.backend.write([OLDER, NEWER].map((key) => ({ op: "put", key, value: Uint8Array.of(7) })));
    const { store, backend } = await reopen(opened);
    expect(await store.load(G)).toMatchObject({ nextPosition: 6, row: { degraded: false } });
    expect(await quarantined(backend)).toEqual(["07", "07"]);
    for (let seq = 6; seq < 9; seq++) {
      await store.commit({ records: [record(G, seq)], snapshots: [snapshot(G, seq + 1)] });
    }
    expect(await store.load(G)).toMatchObject({ nextPosition: 9, damage: [] });
  });
});

describe("a damaged journal record", () => {
  it("ends the replay, whatever bit flips and wherever it is cut; the rest is kept aside", async () => {
    const probe = await stored();
    const entry = (await logEntries(probe.backend)).find(({ seq }) => seq === 4);
    if (entry === undefined) throw new Error("no record 4");
    for (const value of [...flips(entry.value), ...truncations(entry.value)]) {
      const opened = await stored();
      await opened.backend.write([{ op: "append", log: entry.log, seq: 4, value }]);
      const { store, backend } = await reopen(opened);
      const group = await store.load(G);
      expect(text(group?.snapshot?.body)).toBe("state 4");
      expect(group).toMatchObject({
        records: [],
        nextPosition: 4,
        damage: [{ record: "journal", action: "quarantined" }],
      });
      expect(await quarantined(backend)).toHaveLength(2);
      expect(await quarantined(backend)).toContain(Buffer.from(value).toString("hex"));
    }
  });

  it("leaves a place for the next record, which survives a crash right after", async () => {
    for (const hole of [2, 3, 4, 5]) {
      const opened = await openStore();
      await opened.store.commit({ created: [meta(G)], snapshots: [snapshot(G, 0)] });
      await opened.store.commit({ records: [0, 1, 2, 3, 4, 5, 6, 7].map((position) => record(G, position)) });
      const [range] = await collect(opened.backend.listLogs());
      await opened.backend.write([{ op: "truncate", log: range?.log ?? "", from: hole, upto: hole + 1 }]);
      const first = await reopen(opened);
      const group = await first.store.load(G);
      expect(group?.nextPosition).toBe(hole);
      expect(group?.damage).toMatchObject([{ record: "journal", reason: `record ${hole} is missing` }]);
      const aside = await quarantined(first.backend);
      expect(aside).toHaveLength(7 - hole);
      await first.store.commit({ records: [{ ...record(G, hole), bytes: Uint8Array.of(9) }] }, { sync: true });
      const second = await reopen(first);
      const after = await second.store.load(G);
      expect(after).toMatchObject({ nextPosition: hole + 1, damage: [] });
      expect(after?.records.at(-1)?.bytes).toEqual(Uint8Array.of(9));
      // The same hole once more: what is aside already stays.
      await second.backend.write([{ op: "append", log: range?.log ?? "", seq: hole, value: Uint8Array.of(7) }]);
      const third = await reopen(second);
      expect(await third.store.load(G)).toMatchObject({ nextPosition: hole });
      expect(await quarantined(third.backend)).toEqual(expect.arrayContaining([...aside, "07"]));
    }
  });

  it("in one place, twice: both are kept aside", async () => {
    let opened = await stored();
    for (const value of [Uint8Array.of(7), Uint8Array.of(8)]) {
      const [range] = await collect(opened.backend.listLogs());
      await opened.backend.write([{ op: "append", log: range?.log ?? "", seq: 5, value }]);
      opened = await reopen(opened);
      expect(await opened.store.load(G)).toMatchObject({ nextPosition: 5 });
    }
    expect((await quarantined(opened.backend)).sort()).toEqual(["07", "08"]);
  });

  it("in a place where it does not belong is damage", async () => {
    const opened = await stored();
    const entries = await logEntries(opened.backend);
    const value = entries.find(({ seq }) => seq === 5)?.value ?? new Uint8Array();
    await opened.backend.write([{ op: "append", log: entries[0]?.log ?? "", seq: 4, value }]);
    expect(await (await reopen(opened)).store.load(G)).toMatchObject({
      nextPosition: 4,
      damage: [{ record: "journal" }],
    });
  });

  it("is found by the first commit, too, when the group was not loaded", async () => {
    const opened = await stored();
    const [range] = await collect(opened.backend.listLogs());
    await opened.backend.write([{ op: "append", log: range?.log ?? "", seq: 5, value: Uint8Array.of(7) }]);
    const { store, damage, backend } = await reopen(opened);
    await expect(store.commit({ records: [record(G, 6)] })).rejects.toBeInstanceOf(TypeError);
    expect(damage).toMatchObject([{ record: "journal" }]);
    expect(await quarantined(backend)).toEqual(["07"]);
    await store.commit({ records: [record(G, 5)] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 6 });
  });
});

describe("a damaged node record", () => {
  it("is replaced by its copy; when both are damaged, both are kept aside", async () => {
    const opened = await openStore();
    const node = { nodeId: "n", starts: 1, clean: false, peers: [] };
    await opened.store.writeNode(node);
    await opened.backend.write([{ op: "put", key: "na", value: Uint8Array.of(1) }]);
    expect(await opened.store.readNode()).toEqual(node);
    expect(await opened.store.readNode()).toEqual(node);
    expect(opened.damage).toMatchObject([{ record: "node", action: "rebuilt" }]);
    await opened.backend.write([{ op: "put", key: "nb", value: Uint8Array.of(3) }]);
    expect(await opened.store.readNode()).toEqual(node);
    expect(opened.damage).toHaveLength(2);
    await opened.backend.write(["na", "nb"].map((key) => ({ op: "put", key, value: Uint8Array.of(2) })));
    expect(await opened.store.readNode()).toBeUndefined();
    expect(await quarantined(opened.backend)).toEqual(["02", "01", "02", "03"]);
  });
});
