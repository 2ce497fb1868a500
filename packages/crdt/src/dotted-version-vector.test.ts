import { describe, expect, it } from "vitest";
import { type Actor, createActor } from "./actor.ts";
import { Reader, Writer } from "./codec.ts";
import { DottedVersionVector } from "./dotted-version-vector.ts";
import { CrdtError } from "./error.ts";
import { Random } from "./testing/index.ts";
import { type CausalOrder, VersionVector } from "./vector.ts";

const [x, y, z] = [1, 2, 3].map((node) => createActor(new Uint8Array(8).fill(node), new Uint8Array(8))) as [
  Actor,
  Actor,
  Actor,
];

/** The meaning of a clock: the set of its events. */
function history(clock: DottedVersionVector): Set<string> {
  const events = new Set([`${clock.dot.actor}:${clock.dot.seq}`]);
  for (const [actor, last] of clock.past) for (let seq = 1; seq <= last; seq++) events.add(`${actor}:${seq}`);
  return events;
}

function orderOf(a: ReadonlySet<string>, b: ReadonlySet<string>): CausalOrder {
  const includes = [...b].every((event) => a.has(event));
  if ([...a].every((event) => b.has(event))) return includes ? "equal" : "before";
  return includes ? "after" : "concurrent";
}

function randomClock(random: Random): DottedVersionVector {
  const past = new VersionVector();
  for (const actor of [x, y, z]) if (random.chance(0.6)) past.set(actor, random.below(4));
  const actor = random.pick([x, y, z]);
  return new DottedVersionVector({ actor, seq: past.get(actor) + 1 + random.below(3) }, past);
}

describe("DottedVersionVector", () => {
  it("compares as the sets of events that it stands for", () => {
    const random = new Random(7);
    const seen = new Map<CausalOrder, number>();
    for (let count = 0; count < 20_000; count++) {
      const [a, b] = [randomClock(random), randomClock(random)];
      const order = orderOf(history(a), history(b));
      expect(a.compare(b)).toBe(order);
      expect(a.includes(b)).toBe(order === "after" || order === "equal");
      seen.set(order, (seen.get(order) ?? 0) + 1);
    }
    expect([...seen.keys()].sort()).toEqual(["after", "before", "concurrent", "equal"]);
  });

  it("tells two blind writes through one actor apart, as a version vector cannot", () => {
    const nothing = new VersionVector();
    const first = DottedVersionVector.write(nothing, x);
    const second = DottedVersionVector.write(nothing, x, [first]);
    expect([first.dot.seq, second.dot.seq, second.past.size]).toEqual([1, 2, 0]);
    expect(first.compare(second)).toBe("concurrent");
    const both = DottedVersionVector.sync([first], [second]);
    const third = DottedVersionVector.write(DottedVersionVector.context(both), y, both);
    expect([first, second].map((clock) => clock.compare(third))).toEqual(["before", "before"]);
    expect(DottedVersionVector.sync(both, [third])).toEqual([third]);
  });

  it("sync keeps exactly what no other write follows, in either order and however often", () => {
    const random = new Random(11);
    for (let run = 0; run < 300; run++) {
      const [ours, theirs] = randomServers(random);
      const dots = (clocks: readonly DottedVersionVector[]): string[] =>
        clocks.map(({ dot }) => `${dot.actor}:${dot.seq}`).sort();
      const all = [...ours, ...theirs];
      const expected = all.filter((clock) => !all.some((other) => clock.compare(other) === "before"));
      const joined = DottedVersionVector.sync(ours, theirs);
      expect(dots(joined)).toEqual([...new Set(dots(expected))]);
      expect(dots(DottedVersionVector.sync(theirs, ours))).toEqual(dots(joined));
      expect(dots(DottedVersionVector.sync(joined, ours))).toEqual(dots(joined));
    }
  });

  it("survives encoding, and refuses what could not have been written", () => {
    const random = new Random(5);
    for (let count = 0; count < 200; count++) {
      const clock = randomClock(random);
      const writer = new Writer();
      clock.encode(writer);
      const bytes = writer.take();
      expect(DottedVersionVector.decode(new Reader(bytes)).toJSON()).toEqual(clock.toJSON());
      expect(() => DottedVersionVector.decode(new Reader(bytes.subarray(0, bytes.length - 1)))).toThrow(CrdtError);
    }
    const writer = new Writer();
    new VersionVector([[x, 2]]).encode(writer);
    writer.actor(x);
    writer.uint(2);
    expect(() => DottedVersionVector.decode(new Reader(writer.take()))).toThrow("its own past");
    expect(() => new DottedVersionVector({ actor: x, seq: 0 })).toThrow(RangeError);
    expect(() => new DottedVersionVector({ actor: x, seq: 1 }, new VersionVector([[x, 1]]))).toThrow(RangeError);
  });

  it("is not changed through what it was made of or gives out", () => {
    const past = new VersionVector([[y, 1]]);
    const clock = new DottedVersionVector({ actor: x, seq: 1 }, past);
    past.set(y, 9);
    clock.past.set(y, 9);
    expect(clock.toJSON()).toEqual({ dot: { actor: x, seq: 1 }, past: { [y]: 1 } });
  });
});

/** What two replicas of one key hold after some writes, each with the context of a random earlier read. */
function randomServers(random: Random): [readonly DottedVersionVector[], readonly DottedVersionVector[]] {
  const kept: [readonly DottedVersionVector[], readonly DottedVersionVector[]] = [[], []];
  const contexts = [new VersionVector()];
  for (let step = 0; step < 8; step++) {
    const server = random.below(2) as 0 | 1;
    if (random.chance(0.3)) {
      kept[server] = DottedVersionVector.sync(kept[0], kept[1]);
    } else {
      const written = DottedVersionVector.write(random.pick(contexts), server === 0 ? x : y, kept[server]);
      kept[server] = DottedVersionVector.sync(kept[server], [written]);
    }
    contexts.push(DottedVersionVector.context(kept[server]));
  }
  return kept;
}
