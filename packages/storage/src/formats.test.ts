import { Writer } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import { encodeRow, EMPTY_FIELDS, decodeRow } from "./catalogue-row.ts";
import { encodeGroupId } from "./group-id.ts";
import { encodeMeta } from "./group-meta.ts";
import { ALICE, BOB, meta } from "./group-store.test-support.ts";
import { decodeEntry, encodeEntry } from "./journal-entry.ts";
import { decodeNode, encodeNode } from "./node-record.ts";
import { packBody, readPackedBody, unpackBody, writePackedBody } from "./packed-body.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot-record.ts";
import { parseJournalLog, journalLog, rowKey, snapshotKey } from "./store-keys.ts";
import { crc32 as tableCrc32 } from "./platform-browser.ts";
import { crc32 } from "./platform-node.ts";
import { Reader } from "@coppice/crdt";

// Golden bytes: what a released version wrote stays readable, so these lines only ever get company.
const GOLDEN_ROW =
  "010107636f756e74657201" +
  "02a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a103b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0810101b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0";

const group = encodeGroupId(["words", "a"]);
const { id: _, ...alice } = meta("x", 3);
const groupMeta = { ...alice, vector: alice.vector.clone(), frontier: [BOB] };
groupMeta.vector.set(BOB, 129);
const row = {
  ...EMPTY_FIELDS,
  meta: groupMeta,
  snapshotBytes: 300,
  snapshotAt: 1_800_000_000_000,
  degraded: true,
  generations: 2,
  newest: { generation: 2, position: 130, seq: 7 },
  previous: { generation: 1, position: 100, seq: 3 },
  logStart: 1,
};
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("formats", () => {
  it("keys are as documented", () => {
    expect(group).toBe("tswords!sa!!");
    expect(rowKey(group)).toBe("ctswords!sa!!");
    expect(snapshotKey(group, 1, 17)).toBe("stswords!sa!!11211");
    expect(parseJournalLog(journalLog(group, 300))).toEqual({ group, epoch: 300 });
    expect(() => parseJournalLog("zz")).toThrow(expect.objectContaining({ code: "CORRUPT" }));
  });

  it("catalogue row", () => {
    const bytes = encodeRow(row, rowKey(group));
    expect(hex(bytes).startsWith(GOLDEN_ROW)).toBe(true);
    expect(hex(bytes)).toMatchInlineSnapshot(
      `"010107636f756e7465720102a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a103b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0810101b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0eb070300000001000000ac0280a0f1c2b1340202820107016403017d4da095"`,
    );
    expect(decodeRow(bytes, rowKey(group))).toEqual(row);
    expect(() => decodeRow(bytes, rowKey("sother!"))).toThrow(expect.objectContaining({ code: "CORRUPT" }));
  });

  it("snapshot", async () => {
    const key = snapshotKey(group, 1, 2);
    const body = await packBody(Uint8Array.of(1, 2, 3), 1);
    const record = { meta: groupMeta, mark: row.newest, takenAt: 1_800_000_000_000, body };
    const bytes = encodeSnapshot(record, encodeMeta(groupMeta), key);
    expect(hex(bytes)).toMatchInlineSnapshot(
      `"4347534e0107636f756e7465720102a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a103b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0810101b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0eb0703000000010000000282010780a0f1c2b134000102031d0c59c5"`,
    );
    expect(decodeSnapshot(bytes, key)).toEqual(record);
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
    expect(ALICE).toHaveLength(32);
  });
});
