import type { RollEntry } from "@coppice/replication/libp2p";
import { expect, test } from "vitest";
import { AdmissionRoll, type StoredEntry, type Trust } from "./roll.ts";

const HOST = `12D3KooW${"H".repeat(44)}`;
const ANN = `12D3KooW${"A".repeat(44)}`;
const BOB = `12D3KooW${"B".repeat(44)}`;

function roll(trust: Partial<Trust> = {}, entries: readonly StoredEntry[] = []): AdmissionRoll {
  return new AdmissionRoll(entries, { takesIntroductions: true, isNewcomer: false, ...trust }, async () => {});
}

function entry(peer: string, at: number, isRemoved = false): RollEntry {
  return { peer, at, isRemoved, label: "" };
}

function hear(known: AdmissionRoll, ...entries: readonly RollEntry[]): void {
  known.introduce(HOST, { roll: entries, members: [] });
}

test("whoever members introduce is admitted, and told of to further members", () => {
  const told: StoredEntry[] = [];
  const known = roll({ onTold: (each) => told.push(each) });
  let changes = 0;
  known.onChange(() => changes++);
  hear(known, entry(ANN, 5));
  hear(known, entry(ANN, 5));
  expect([known.admits(ANN), known.admits(BOB), changes]).toEqual([true, false, 1]);
  expect(known.entries()).toEqual([{ ...entry(ANN, 5), by: HOST }]);
  expect(told).toHaveLength(1);
});

test("in whatever order they are heard, the later decision counts, and of two at once the removal", () => {
  const decisions = [entry(ANN, 5), entry(ANN, 7, true), entry(ANN, 6), entry(ANN, 7)];
  for (let turn = 0; turn < decisions.length; turn++) {
    const known = roll();
    for (const each of [...decisions.slice(turn), ...decisions.slice(0, turn)]) hear(known, each);
    hear(known, ...decisions.toReversed());
    expect([known.admits(ANN), known.isRemoved(ANN)]).toEqual([false, true]);
  }
});

test("a decision made here is later than all that is known, whatever the clocks say", () => {
  const known = roll();
  const ahead = Date.now() + 3_600_000;
  hear(known, entry(ANN, ahead));
  known.decide(ANN, true, "");
  expect(known.entries()[0]?.at).toBe(ahead + 1);
  hear(known, entry(ANN, ahead));
  expect(known.admits(ANN)).toBe(false);
  // A new invite brings it back, everywhere.
  known.decide(ANN, false, "again");
  const other = roll({}, [entry(ANN, ahead + 1, true)]);
  hear(other, ...known.entries());
  expect(other.admits(ANN)).toBe(true);
});

test("what could not be stored is taken back", () => {
  const known = roll({}, [entry(ANN, 5)]);
  known.decide(ANN, true, "")();
  known.decide(BOB, false, "")();
  expect(known.entries()).toEqual([entry(ANN, 5)]);
});

test("a node with a list of its own takes nobody, and remembers who was introduced", () => {
  const known = roll({ takesIntroductions: false, isNewcomer: true });
  known.introduce(HOST, { roll: [entry(ANN, 5)], members: [BOB] });
  expect([known.admits(ANN), known.admits(BOB), known.entries()]).toEqual([false, false, []]);
  expect([known.introducerOf(ANN), known.introducerOf(BOB)]).toEqual([HOST, undefined]);
});

test("a node that came by an invite admits whom its members are linked with, unless they were removed", () => {
  for (const isNewcomer of [false, true]) {
    const known = roll({ isNewcomer });
    known.introduce(HOST, { roll: [], members: [ANN, BOB] });
    hear(known, entry(BOB, 5, true));
    expect([known.admits(ANN), known.admits(BOB)]).toEqual([isNewcomer, false]);
    expect(known.entries()).toHaveLength(1);
  }
});

test("what a member may bring is bounded", () => {
  const known = roll({ isNewcomer: true });
  hear(known, entry("no peer id", 5), entry(ANN, Date.now() + 2 * 86_400_000), entry(BOB, 5));
  expect(known.entries().map(({ peer }) => peer)).toEqual([BOB]);
  const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ".split("");
  const many = letters.flatMap((a) =>
    letters.flatMap((b) => letters.map((c) => `12D3KooW${a}${b}${c}${"z".repeat(41)}`)),
  );
  hear(known, ...many.map((peer) => ({ ...entry(peer, 5), label: "x".repeat(500) })));
  known.introduce(HOST, { roll: [], members: many });
  expect(known.entries()).toHaveLength(1000);
  expect(many.filter((peer) => known.admits(peer)).length).toBeLessThanOrEqual(2000);
  expect(Math.max(...known.entries().map(({ label }) => label.length))).toBe(100);
  // Of those known, it hears all the same.
  hear(known, entry(BOB, 6, true));
  expect(known.admits(BOB)).toBe(false);
});
