import type { StorageBackend } from "../backend.ts";
import { decodeGroupKey, encodeGroupId, encodeGroupPrefix, type GroupId } from "../group-id.ts";
import { collect, equal } from "./checks.ts";

/** Ids of every kind, in the order of their keys: what group stores use as keys and names of logs. */
const IDS: readonly GroupId[] = [
  " ",
  "!",
  '"quoted"',
  "A",
  "a",
  "a\u0000b",
  "a b",
  "aa",
  "~",
  "\u007f",
  "ä",
  "\u{10ffff}",
  [Number.MIN_SAFE_INTEGER],
  [-16],
  [-1],
  [0],
  [15],
  [16],
  [Number.MAX_SAFE_INTEGER],
  ["1"],
  ["a"],
  ["a", -1],
  ["a", 1],
  ["a", 1, "b"],
  ["a", "1"],
  ["a", "b"],
  ["aa"],
  ["é"],
  ["é", "z".repeat(100)],
];

/** Group ids of every kind are apart, in order, and found by prefix, as keys and as logs. */
export async function groupKeys(backend: StorageBackend): Promise<void> {
  const shuffled = IDS.map((id, index) => ({ id, index })).sort((a, b) => ((a.index * 7) % 29) - ((b.index * 7) % 29));
  for (const { id, index } of shuffled) {
    const key = encodeGroupId(id);
    const value = Uint8Array.of(index);
    await backend.write([
      { op: "put", key, value },
      { op: "append", log: key, seq: index, value },
    ]);
  }
  const entries = await collect(backend.scan());
  equal(
    entries.map(({ key }) => decodeGroupKey(key)),
    IDS,
    "ids",
  );
  equal(
    entries.map(({ value }) => value[0]),
    IDS.map((_, index) => index),
    "values",
  );
  equal(
    (await collect(backend.listLogs())).map(({ log, first, last }) => [decodeGroupKey(log), first, last]),
    IDS.map((id, index) => [id, index, index]),
    "logs",
  );
  for (const prefix of [[], ["a"], ["a", 1], [-1], "a", "", "\u{10ffff}"]) {
    const found = (await collect(backend.scan({ prefix: encodeGroupPrefix(prefix) }))).map(({ key }) => key);
    equal(
      found.map(decodeGroupKey),
      IDS.filter((id) => matches(id, prefix)),
      `the ids of ${JSON.stringify(prefix)}`,
    );
  }
}

function matches(id: GroupId, prefix: GroupId): boolean {
  if (typeof prefix === "string") return typeof id === "string" && id.startsWith(prefix);
  return typeof id !== "string" && prefix.every((element, index) => id[index] === element);
}
