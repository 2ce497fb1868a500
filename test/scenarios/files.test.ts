// Files that nobody wrote.
import { crc32 } from "node:zlib";
import { VersionVector, Writer, gCounter } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { createGroupStore, encodeGroupId, exportGroups, importGroups, memoryStorage } from "@coppice/storage";
import { expect, test } from "vitest";

/** A block of an export in its place, sealed as it should be, whatever it says. */
function block(body: Uint8Array, index: number): Uint8Array {
  const sealed = Buffer.alloc(4 + body.length + 4);
  sealed.writeUInt32LE(body.length + 4);
  sealed.set(body, 4);
  sealed.writeUInt32LE(crc32(body, crc32(`export ${index}`)), 4 + body.length);
  return sealed;
}

/** A tombstone in an epoch in which its group lives. */
function livingTombstone(): Uint8Array {
  const body = new Writer();
  body.byte(2);
  body.string(encodeGroupId("other"));
  body.uint(1);
  body.string(gCounter.name);
  for (const item of [0, 0, 0, 0, 0, 0, 0, 0, 0]) body.byte(item);
  new VersionVector().encode(body);
  body.uint(0);
  return body.take();
}

test("an export with a block that makes no sense is corrupt, and what came before the block is there", async () => {
  const backend = memoryStorage();
  const writer = await createNode({ types: [gCounter], storage: backend });
  (await writer.open("c", gCounter)).mutate((counter) => counter.increment(3));
  await writer.close();
  const source = createGroupStore(backend);
  await source.open();
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportGroups(source)) chunks.push(chunk);
  await source.close();
  // The last block is the end.
  const forged = [...chunks.slice(0, -1), block(livingTombstone(), chunks.length - 2)];
  const target = createGroupStore(memoryStorage());
  await target.open();
  const file = (async function* (): AsyncGenerator<Uint8Array> {
    yield* forged;
  })();
  await expect(importGroups(target, file)).rejects.toMatchObject({
    code: "CORRUPT",
    message: expect.stringContaining("makes no sense") as string,
  });
  const reader = await createNode({ types: [gCounter], storage: target });
  expect((await reader.open("c", gCounter)).value()).toBe(3);
  expect(reader.group("other")).toBeUndefined();
  await reader.close();
});
