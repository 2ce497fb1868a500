import { type Actor, VersionVector, createActor } from "@coppice/crdt";
import { Random } from "@coppice/crdt/testing";
import { describe, expect, it } from "vitest";
import { CausalPast } from "./causal-past.ts";
import { groupSeed, vectorDigest } from "./digest.ts";
import { RunBuilder } from "./run-builder.ts";
import type { Run } from "./run.ts";

const SEED = groupSeed("group", "type", 1);
const ACTORS: readonly Actor[] = Array.from({ length: 12 }, (_, index) =>
  createActor(new Uint8Array(8).fill(index), new Uint8Array(8).fill(index)),
);

/** What the past must be, from every event's full knowledge. */
class Model {
  readonly known = new Map<Actor, number>();
  /** What each known event knew, itself included. */
  readonly events: { actor: Actor; seq: number; past: Map<Actor, number> }[] = [];

  add(actor: Actor, seq: number, past: Map<Actor, number>): void {
    this.events.push({ actor, seq, past });
    this.known.set(actor, seq);
  }

  frontier(): Actor[] {
    const latest = this.events.filter(({ actor, seq }) => this.known.get(actor) === seq);
    const isFollowed = (of: { actor: Actor; seq: number }): boolean =>
      this.events.some((other) => other.actor !== of.actor && (other.past.get(of.actor) ?? 0) >= of.seq);
    return latest.filter((event) => !isFollowed(event)).map(({ actor }) => actor);
  }
}

function runOf(actor: Actor, seq: number, dependencies: ReturnType<CausalPast["extend"]>): Run {
  const builder = new RunBuilder();
  builder.deltas.byte(1);
  builder.add({ actor, seq, time: seq }, dependencies);
  return builder.take();
}

function expectEqual(past: CausalPast, model: Model): void {
  const vector = new VersionVector(model.known);
  expect(past.vector.equals(vector)).toBe(true);
  expect(past.digest()).toEqual(vectorDigest(SEED, vector));
  expect([...past.frontier].sort()).toEqual(model.frontier().sort());
}

describe("a causal past", () => {
  it("is what a model makes of all events, whoever's and in whatever causal order they come", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed);
      const nodes = ACTORS.slice(0, 2 + random.below(ACTORS.length - 1)).map((actor) => ({
        actor,
        past: new CausalPast(SEED),
        model: new Model(),
        log: [] as { run: Run; past: Map<Actor, number> }[],
      }));
      for (let step = 0; step < 80; step++) {
        const { actor, past, model, log } = random.pick(nodes);
        if (random.chance(0.5)) {
          const seq = past.known(actor) + 1;
          const run = runOf(actor, seq, past.extend(actor, seq));
          const knew = new Map(model.known).set(actor, seq);
          model.add(actor, seq, knew);
          log.push({ run, past: knew });
        } else {
          for (const entry of random.pick(nodes).log.slice()) {
            const { run } = entry;
            if (past.known(run.actor) !== run.firstSeq - 1 || past.uncovered(run, 0) === 0) continue;
            past.follow(run, 0, 1);
            model.add(run.actor, run.firstSeq, entry.past);
            log.push(entry);
            if (random.chance(0.2)) break;
          }
        }
        if (random.chance(0.3)) expectEqual(past, model);
      }
      for (const { past, model } of nodes) expectEqual(past, model);
      const [first, second] = nodes;
      if (first === undefined || second === undefined) continue;
      first.past.join(second.past.vector, second.past.frontier);
      for (const { run, past } of second.log) {
        if ((first.model.known.get(run.actor) ?? 0) < run.firstSeq) first.model.add(run.actor, run.firstSeq, past);
      }
      expectEqual(first.past, first.model);
      const loaded = new CausalPast(SEED);
      loaded.load(first.past.vector, first.past.frontier);
      expectEqual(loaded, first.model);
    }
  });
});
