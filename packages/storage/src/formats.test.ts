import { Writer } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import { encodeGroupId } from "./group-id.ts";
import {
  apartSeed,
  decodeApart,
  decodeRecord,
  emptyRecord,
  finishRecord,
  type GroupRecord,
  markOf,
  recordOfApart,
  recordSeed,
  withDegraded,
  draftRecord,
} from "./group-record.ts";
import { ALICE, BOB, meta } from "./group-store.test-support.ts";
import { decodeEntry, encodeEntry } from "./journal-entry.ts";
import { decodeNode, encodeNode } from "./node-record.ts";
import { packBody, readPackedBody, unpackBody, writePackedBody } from "./packed-body.ts";
import { isSealed, placeSeed } from "./sealed.ts";
import { apartKey, journalLog, parseApartKey, parseJournalLog, recordKey } from "./store-keys.ts";
import { crc32 as tableCrc32 } from "./platform-browser.ts";
import { crc32 } from "./platform-node.ts";
import { Reader } from "@coppice/crdt";

// Golden bytes: what a released version wrote stays readable, so these lines only ever get company.
const group = encodeGroupId(["words", "a"]);
const { id: _, ...alice } = meta("x", 3);
const groupMeta = { ...alice, vector: alice.vector.clone(), frontier: [BOB] };
groupMeta.vector.set(BOB, 129);
const head = { generation: 2, seq: 2 ** 33 + 7, takenAt: 1_800_000_000_000, isDegraded: true };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function written(body: Parameters<typeof draftRecord>[2], seed: number): Uint8Array {
  const record = draftRecord({ epoch: 2 ** 31 + 1, position: 130 }, groupMeta, body);
  finishRecord(record, head, seed);
  return record;
}

const fields = {
  id: ["words", "a"],
  key: group,
  epoch: 2 ** 31 + 1,
  type: "counter",
  time: 1003,
  digest: [3, 1],
  vector: groupMeta.vector,
  frontier: [BOB],
  snapshotAt: 1_800_000_000_000,
  journalPosition: 130,
  degraded: true,
  generation: 2,
  seq: 2 ** 33 + 7,
};

describe("formats", () => {
  it("keys are as documented", () => {
    expect(group).toBe("tswords!sa!!");
    expect(recordKey(group, 0)).toBe("ctswords!sa!!0");
    expect(apartKey(group, 17, 1)).toBe("stswords!sa!!2111");
    expect(parseApartKey(apartKey(group, 17, 1))).toEqual({ group, epoch: 17, slot: 1 });
    expect(() => parseApartKey("stswords!sa!!2112")).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    expect(parseJournalLog(journalLog(group, 300))).toEqual({ group, epoch: 300 });
    expect(() => parseJournalLog("zz")).toThrow(expect.objectContaining({ code: "CORRUPT" }));
  });

  it("group record", async () => {
    const body = await packBody(Uint8Array.of(1, 2, 3), 1);
    const bytes = written(body, recordSeed(group));
    expect(hex(bytes)).toMatchInlineSnapshot(
      `"0101010000800200000007000000020000505c18a301820107636f756e746572eb070300000001000000040001020302a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a103b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0810101b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b07958343c"`,
    );
    const record = decodeRecord(bytes, group, 0);
    expect(record).toMatchObject({ ...fields, isApart: false, snapshotBytes: bytes.length });
    expect(record.body()).toEqual(body);
    expect(record.snapshot(Uint8Array.of(9))).toEqual({
      ...groupMeta,
      id: ["words", "a"],
      epoch: 2 ** 31 + 1,
      journalPosition: 130,
      body: Uint8Array.of(9),
    });
    expect(markOf(bytes)).toEqual({ generation: 2, position: 130, seq: 2 ** 33 + 7, isApart: false });
    const corrupt = expect.objectContaining({ code: "CORRUPT" });
    expect(() => decodeRecord(bytes, "sother!", 0)).toThrow(corrupt);
    expect(() => decodeRecord(bytes, group, 1)).toThrow(corrupt);
    expect(decodeRecord(withDegraded(bytes, group, false), group, 0)).toMatchObject({ ...fields, degraded: false });
  });

  it("group record of which the body lies apart", async () => {
    const body = await packBody(Uint8Array.of(1, 2, 3), 1);
    const apart = written(body, apartSeed(group));
    const bytes = written(apart.length, recordSeed(group));
    expect(hex(bytes)).toMatchInlineSnapshot(
      `"0103010000800200000007000000020000505c18a301820107636f756e746572eb0703000000010000006802a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a103b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0810101b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b061696d69"`,
    );
    const record = decodeRecord(bytes, group, 0);
    expect(record).toMatchObject({ ...fields, isApart: true, snapshotBytes: apart.length });
    expect(record.body()).toBeUndefined();
    const place = { epoch: 2 ** 31 + 1, slot: 0 } as const;
    expect(decodeApart(apart, group, place).body()).toEqual(body);
    const rebuilt = recordOfApart(decodeApart(apart, group, place));
    expect(rebuilt.bytes).toEqual(withDegraded(bytes, group, false));
    const corrupt = expect.objectContaining({ code: "CORRUPT" });
    expect(() => decodeRecord(apart, group, 0)).toThrow(corrupt);
    expect(() => decodeApart(bytes, group, place)).toThrow(corrupt);
    expect(() => decodeApart(apart, group, { ...place, epoch: 1 })).toThrow(corrupt);
  });

  it("group record without a snapshot fits both slots", () => {
    const about = { epoch: 3, type: "counter", time: 1003 };
    const bytes = emptyRecord(recordSeed(group), about, { seq: 7, isDegraded: false });
    expect(hex(bytes)).toMatchInlineSnapshot(
      `"010003000000000000000700000000000000000000000007636f756e746572eb0700000000000000000000001a7692e5"`,
    );
    for (const slot of [0, 1] as const) {
      const record: GroupRecord = decodeRecord(bytes, group, slot);
      expect(record).toMatchObject({ ...about, digest: [0, 0], seq: 7, generation: 0, snapshotBytes: 0 });
      expect([record.vector.size, record.body()]).toEqual([0, undefined]);
    }
  });

  it("journal record", async () => {
    const log = journalLog(group, 1);
    const entry = { position: 130, count: 2, body: await packBody(Uint8Array.of(1, 2, 3), 0) };
    const bytes = encodeEntry(entry, log, 7);
    expect(hex(bytes)).toMatchInlineSnapshot(`"0182010200010203625d1129"`);
    expect(decodeEntry(bytes, log, 7)).toEqual(entry);
    expect(() => decodeEntry(bytes, log, 8)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
  });

  it("node record", () => {
    const node = { nodeId: "12D3Koo", starts: 300, clean: true, peers: ["/ip4/127.0.0.1/tcp/4001"] };
    const bytes = encodeNode(node, "na");
    expect(hex(bytes)).toMatchInlineSnapshot(
      `"0107313244334b6f6fac020101172f6970342f3132372e302e302e312f7463702f343030311c794791"`,
    );
    expect(decodeNode(bytes, "na")).toEqual(node);
  });

  it("compressed bodies of version 1 stay readable", async () => {
    const reader = new Reader(
      Uint8Array.from(Buffer.from("018810" + "63641c05a321301a02a321301a02a321301a0223350400", "hex")),
    );
    expect(() => readPackedBody(new Reader(Uint8Array.of(9)))).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_FORMAT" }),
    );
    const golden = readPackedBody(reader);
    const bytes = new Uint8Array(2056).fill(1);
    expect(golden).toMatchObject({ codec: 1, length: 2056 });
    expect(await unpackBody(golden)).toEqual(bytes);
    const writer = new Writer();
    writePackedBody(writer, await packBody(bytes, 1));
    expect(await unpackBody(readPackedBody(new Reader(writer.take())))).toEqual(bytes);
  });

  it("a body that claims to be larger or smaller than it is, is corrupt", async () => {
    const packed = await packBody(new Uint8Array(5000).fill(1), 1);
    for (const length of [0, 4999, 5001, 2 ** 40]) {
      await expect(unpackBody({ ...packed, length })).rejects.toMatchObject({ code: "CORRUPT" });
    }
  });

  it("checksums agree on every platform", () => {
    const bytes = Uint8Array.from({ length: 300 }, (_, index) => index * 7);
    for (const input of [bytes, "tswords!sa!!", ""]) {
      for (const seed of [0, 1, 0xffffffff]) expect(tableCrc32(input, seed)).toBe(crc32(input, seed));
    }
    expect(crc32("123456789")).toBe(0xcbf43926);
    expect(placeSeed("123456789")).toBe(0xcbf43926);
    expect(isSealed(Uint8Array.of(0x26, 0x39, 0xf4, 0xcb), placeSeed("123456789"))).toBe(true);
    expect(ALICE).toHaveLength(32);
  });
});
