import { expect, test } from "vitest";
import { AwarenessTable, awarenessMessages } from "./yjs-awareness.ts";
import type { AwarenessEntry } from "./yjs-wire.ts";

const HERE = '{"name":"Ann"}';
const GONE = "null";

function entry(client: number, clock: number, state = HERE): AwarenessEntry {
  return { client, clock, state };
}

function table(...entries: readonly AwarenessEntry[]): AwarenessTable<string> {
  const made = new AwarenessTable<string>();
  made.take(entries, "a", 0);
  return made;
}

test("the newest clock counts, and with the same clock a client can only go", () => {
  const known = new AwarenessTable<string>();
  known.take([entry(1, 5)], undefined, 0);
  expect(known.take([entry(1, 4, '{"name":"Old"}')], undefined, 0).news).toEqual([]);
  expect(known.take([entry(1, 4, GONE)], undefined, 0).news).toEqual([]);
  expect(known.take([entry(1, 5, GONE)], undefined, 0).news).toEqual([entry(1, 5, GONE)]);
  expect(known.take([entry(1, 5)], undefined, 0).news).toEqual([]);
  expect(known.present()).toEqual([]);
  expect(known.take([entry(1, 6)], undefined, 0).news).toEqual([entry(1, 6)]);
});

test("who speaks for a client that was taken for gone is told the clock at which it was", () => {
  const known = table(entry(1, 5));
  expect(known.leave("a", 0)).toEqual([entry(1, 5, GONE)]);
  expect(known.leave("a", 0)).toEqual([]);
  for (const to of ["b", undefined]) {
    expect(known.take([entry(1, 5)], to, 0)).toEqual({ news: [], replies: [{ to, entry: entry(1, 5, GONE) }] });
  }
  expect(known.take([entry(1, 6)], "b", 0)).toEqual({ news: [entry(1, 6)], replies: [] });
});

test("what others say again of a client changes nothing, and it belongs to who brought its clock", () => {
  const known = table(entry(1, 5));
  for (const owner of ["b", undefined]) {
    expect(known.take([entry(1, 5)], owner, 0)).toEqual({ news: [], replies: [] });
    // The client itself is asked.
    const replies = [{ to: "a", entry: entry(1, 5, GONE) }];
    expect(known.take([entry(1, 5, GONE)], owner, 0)).toEqual({ news: [], replies });
  }
  expect(known.leave("b", 0)).toEqual([]);
  known.take([entry(1, 6)], "b", 0);
  expect(known.leave("a", 0)).toEqual([]);
  known.take([entry(1, 7)], undefined, 0);
  expect(known.own()).toEqual([]);
  expect(known.leave("b", 0)).toEqual([]);
});

test("a client has gone after 30 seconds without a word of its own, or of its node", () => {
  const known = table(entry(1, 5));
  known.take([entry(2, 7), entry(3, 9)], undefined, 0);
  known.take([entry(1, 6)], "a", 20_000);
  known.take([entry(2, 7)], "a", 20_000);
  known.take([entry(3, 9)], undefined, 20_000);
  expect(known.expire(29_999)).toEqual([]);
  expect(known.expire(30_000)).toEqual([entry(2, 7, GONE)]);
  expect(known.present()).toEqual([entry(1, 6), entry(3, 9)]);
  // For a while late words of it are known to be late; then it is forgotten.
  expect(known.take([entry(2, 7)], undefined, 40_000).news).toEqual([]);
  expect(known.all()).toHaveLength(3);
  known.expire(60_000);
  expect(known.all()).toEqual([entry(1, 6, GONE), entry(3, 9, GONE)]);
});

test("what one connection and one document may bring is bounded", () => {
  const known = new AwarenessTable<string>();
  const many = Array.from({ length: 20_000 }, (_, client) => entry(client, 1));
  expect(known.take(many, "a", 0).news).toHaveLength(100);
  expect(known.take(many, undefined, 0).news).toHaveLength(9900);
  expect(known.take([entry(50_000, 1, GONE)], undefined, 0).news).toEqual([]);
});

test("entries are told in messages of a bounded size, and what is larger is left out", () => {
  const long = entry(7, 1, JSON.stringify("x".repeat(200)));
  const many = [...Array.from({ length: 50 }, (_, client) => entry(client, 1)), long];
  const messages = awarenessMessages(many, 150);
  expect(Math.max(...messages.map(({ length }) => length))).toBeLessThanOrEqual(150);
  expect(messages.length).toBeLessThan(20);
  expect(awarenessMessages([long], 150)).toEqual([]);
  expect(awarenessMessages([], 150)).toEqual([]);
});

test("what clients say of themselves is kept up to a length, each and all together", () => {
  const known = new AwarenessTable<string>();
  const state = (length: number): string => JSON.stringify("x".repeat(length - 2));
  expect(known.take([entry(1, 1, state(65_537))], "a", 0).news).toEqual([]);
  const large = Array.from({ length: 300 }, (_, client) => entry(client, 1, state(65_536)));
  expect(known.take(large, undefined, 0).news).toHaveLength(256);
  expect(known.take([entry(0, 2, state(65_536))], undefined, 0).news).toHaveLength(1);
  expect(known.take([entry(300, 1)], undefined, 0).news).toEqual([]);
  known.expire(30_000);
  known.expire(60_000);
  expect(known.all()).toEqual([]);
  expect(known.take(large, undefined, 60_000).news).toHaveLength(256);
});
