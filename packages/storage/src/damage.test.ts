import { describe, expect, it } from "vitest";
import type { StorageBackend } from "./backend.ts";
import { collect, meta, type Opened, openStore, record, snapshot } from "./group-store.test-support.ts";
import { memoryStorage } from "./memory.ts";

const G = "g";
const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

/** Two generations (at 2 and 4), and a journal of the events 2 to 5 (the older two are truncated). */
async function stored(): Promise<Opened> {
  const opened = await openStore();
  const { store } = opened;
  await store.commit({ created: [meta(G)], records: [record(G, 0), record(G, 1)] });
  await store.commit({ snapshots: [snapshot(G, 2)], records: [record(G, 2)] });
  await store.commit({ records: [record(G, 3)] });
  await store.commit({ snapshots: [snapshot(G, 4)], records: [record(G, 4), record(G, 5)] });
  return opened;
}

async function keyOf(backend: StorageBackend, prefix: string, index = 0): Promise<string> {
  const key = (await collect(backend.scan({ prefix })))[index]?.key;
  if (key === undefined) throw new Error(`no key ${index} with prefix ${prefix}`);
  return key;
}

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

describe("a damaged newest snapshot", () => {
  it("is detected whatever bit flips and wherever it is cut, and the previous generation takes its place", async () => {
    const probe = await stored();
    const key = await keyOf(probe.backend, "s", 1);
    const whole = (await probe.backend.get(key)) ?? new Uint8Array();
    for (const value of [...flips(whole), ...truncations(whole)]) {
      const opened = await stored();
      await opened.backend.write([{ op: "put", key, value }]);
      const { store, backend, damage } = await reopen(opened);
      const group = await store.load(G);
      expect(text(group?.snapshot?.body)).toBe("state 2");
      expect(group?.records.map(({ position }) => position)).toEqual([2, 3, 4, 5]);
      expect(group).toMatchObject({ nextPosition: 6, damage: [{ id: G, record: "snapshot", action: "quarantined" }] });
      expect(group?.row).toMatchObject({ degraded: true, journalPosition: 2, time: 1002 });
      expect(damage).toEqual(group?.damage);
      expect(await quarantined(backend)).toEqual([Buffer.from(value).toString("hex")]);
    }
  });

  it("is reported once, stays in quarantine, and what is written then survives a crash", async () => {
    const opened = await stored();
    const key = await keyOf(opened.backend, "s", 1);
    await opened.backend.write([{ op: "put", key, value: Uint8Array.of(1, 2, 3) }]);
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

  it("of which the record is missing is damage, too", async () => {
    const opened = await stored();
    await opened.backend.write([{ op: "del", key: await keyOf(opened.backend, "s", 1) }]);
    const group = await (await reopen(opened)).store.load(G);
    expect(text(group?.snapshot?.body)).toBe("state 2");
    expect(group?.damage).toMatchObject([{ record: "snapshot", reason: "the record is missing" }]);
  });

  it("together with a damaged previous one leaves nothing to apply events to, and loses no bytes", async () => {
    const opened = await stored();
    const keys = (await collect(opened.backend.scan({ prefix: "s" }))).map(({ key }) => key);
    await opened.backend.write(keys.map((key, index) => ({ op: "put", key, value: Uint8Array.of(index) })));
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

  it("of a newer format is no damage: nothing is touched", async () => {
    const { crc32 } = await import("#platform");
    const opened = await stored();
    const key = await keyOf(opened.backend, "s", 1);
    const bytes = (await opened.backend.get(key)) ?? new Uint8Array();
    bytes[4] = 9;
    const crc = crc32(bytes.subarray(0, -4), crc32(key));
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(bytes.length - 4, crc, true);
    await opened.backend.write([{ op: "put", key, value: bytes }]);
    const { store, backend } = await reopen(opened);
    await expect(store.load(G)).rejects.toMatchObject({ code: "UNSUPPORTED_FORMAT" });
    expect(await backend.get(key)).toEqual(bytes);
    expect(await quarantined(backend)).toEqual([]);
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

describe("a damaged catalogue row", () => {
  it("is rebuilt from the snapshot, whatever bit flips and wherever it is cut", async () => {
    const probe = await stored();
    const key = await keyOf(probe.backend, "c");
    const whole = (await probe.backend.get(key)) ?? new Uint8Array();
    const row = await probe.store.row(G);
    for (const value of [...flips(whole), ...truncations(whole)]) {
      const opened = await stored();
      await opened.backend.write([{ op: "put", key, value }]);
      const { store, backend, damage } = await reopen(opened);
      expect(await collect(store.listGroups())).toEqual([row]);
      expect(damage).toMatchObject([{ id: G, record: "catalogue", action: "rebuilt" }]);
      expect(await quarantined(backend)).toEqual([Buffer.from(value).toString("hex")]);
      expect(await store.load(G)).toMatchObject({ nextPosition: 6, damage: [] });
      await store.commit({ records: [record(G, 6)], snapshots: [snapshot(G, 7)] });
      expect(text((await store.load(G))?.snapshot?.body)).toBe("state 7");
    }
  });

  it("and a damaged newest snapshot: the older one is used, and nothing is written over the evidence", async () => {
    const opened = await stored();
    const newest = await keyOf(opened.backend, "s", 1);
    const row = await keyOf(opened.backend, "c");
    await opened.backend.write([newest, row].map((key) => ({ op: "put", key, value: Uint8Array.of(7) })));
    const { store, backend } = await reopen(opened);
    expect(text((await store.load(G))?.snapshot?.body)).toBe("state 2");
    for (let seq = 6; seq < 9; seq++) {
      await store.commit({ records: [record(G, seq)], snapshots: [snapshot(G, seq + 1)] });
    }
    expect(await store.load(G)).toMatchObject({ nextPosition: 9, damage: [] });
    expect(await backend.get(newest)).toEqual(Uint8Array.of(7));
    expect(await quarantined(backend)).toEqual(["07"]);
  });

  it("is rebuilt from its copy before the first snapshot, and of a deleted group", async () => {
    const opened = await openStore();
    await opened.store.commit({ created: [meta("a"), meta("b")], records: [record("a", 0)] });
    await opened.store.commit({ deletions: [meta("b", 0, 2)] });
    for (const { key } of await collect(opened.backend.scan({ prefix: "c" }))) {
      await opened.backend.write([{ op: "put", key, value: Uint8Array.of(1) }]);
    }
    const { store, damage } = await reopen(opened);
    expect(await store.load("a")).toMatchObject({ nextPosition: 1, row: { type: "counter" } });
    expect(await store.row("b")).toMatchObject({ epoch: 2 });
    expect(damage.map(({ action }) => action)).toEqual(["rebuilt", "rebuilt"]);
  });

  it("with nothing to rebuild it from is moved aside, and the group can be stored anew", async () => {
    const backend = memoryStorage();
    const opened = await openStore(backend);
    await opened.store.commit({ created: [meta(G)] });
    const copy = await keyOf(backend, "b");
    await backend.write([
      { op: "put", key: await keyOf(backend, "c"), value: Uint8Array.of(1) },
      { op: "del", key: copy },
    ]);
    const { store, damage } = await reopen(opened);
    expect(await store.load(G)).toBeUndefined();
    expect(damage).toMatchObject([{ record: "catalogue", action: "quarantined" }]);
    await store.commit({ created: [meta(G)], records: [record(G, 0)] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 1 });
    expect(await quarantined(backend)).toEqual(["01"]);
  });

  it("under a key that is no group's is moved aside, and the listing goes on", async () => {
    const opened = await stored();
    await opened.backend.write([{ op: "put", key: "cs", value: Uint8Array.of(1) }]);
    expect((await collect(opened.store.listGroups())).map(({ id }) => id)).toEqual([G]);
    expect(opened.damage).toMatchObject([{ id: undefined, record: "catalogue", action: "quarantined" }]);
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
    await opened.backend.write(["na", "nb"].map((key) => ({ op: "put", key, value: Uint8Array.of(2) })));
    expect(await opened.store.readNode()).toBeUndefined();
    expect(await quarantined(opened.backend)).toEqual(["02", "01", "02"]);
  });
});
