import { expect, test } from "vitest";
import { lwwMap } from "../lww-map.ts";
import type { CrdtType, EventWalk, MutatorOf, Transaction } from "../type.ts";
import { type SuiteOperation, crdtSuite } from "./crdt-suite.ts";

const map = lwwMap<number>();
type State = ReturnType<typeof map.create>;
type MapType = CrdtType<State, unknown, MutatorOf<typeof map>, unknown>;

const operations: readonly SuiteOperation<MutatorOf<typeof map>>[] = [
  (mutator, random) => mutator.set(random.pick(["a", "b"]), random.below(100)),
  (mutator) => mutator.delete("a"),
];

/** The laws that a type breaks. */
function broken(type: MapType, runs = 30): string[] {
  const names: string[] = [];
  const it = (name: string, body: () => void): void => {
    try {
      body();
    } catch {
      names.push(name);
    }
  };
  crdtSuite({ describe: (_name, body) => body(), it, type, operations, runs });
  return names;
}

/** Walks over the first event alone. */
function firstOf(events: EventWalk): EventWalk {
  return Object.create(events, { next: { value: () => events.seq === 0 && events.next() } }) as EventWalk;
}

const wrong: readonly [name: string, change: Partial<MapType>, law: RegExp][] = [
  ["canonical bytes that tell nothing", { canonical: () => undefined }, /equal version vectors/],
  ["a value that can be changed", { value: (state) => ({ ...map.value(state) }) }, /encoding/],
  [
    "events of a walk that are left out",
    { applyAll: (state, events) => map.applyAll?.(state, firstOf(events)) },
    /events/,
  ],
  ["operations that are not there", { operations: ["set", "put"] }, /operations/],
  ["a mutator that never asks whether it may write", { mutator: unasked }, /callback alone/],
  ["keys that are not told", { apply: (state, delta, at) => map.apply(state, delta, at) }, /keys/],
  ["a join that keeps what was removed", { join: (state, body, ours) => map.join(state, body, ours, ours) }, /join/],
];

function unasked(state: State, transaction: Transaction): MutatorOf<typeof map> {
  return map.mutator(state, Object.create(transaction, { begin: { value: () => undefined } }) as Transaction);
}

test("a right type keeps all laws", () => {
  expect(broken(map)).toEqual([]);
});

test.each(wrong)("%s are noticed", (_name, change, law) => {
  expect(broken({ ...map, ...change })).toContainEqual(expect.stringMatching(law));
});
