import { describe, expect, it } from "vitest";
import { createActor } from "./actor.ts";
import { boundedCounter } from "./bounded-counter.ts";
import { Writer } from "./codec.ts";
import { CrdtError } from "./error.ts";
import { ewFlag } from "./flag.ts";
import { gCounter } from "./g-counter.ts";
import { lwwMap } from "./lww-map.ts";
import { mvRegister } from "./mv-register.ts";
import { aliveNotes, lastWrites, sums } from "./oracle.test-support.ts";
import { orMap } from "./or-map.ts";
import { orSet } from "./or-set.ts";
import { pnCounter } from "./pn-counter.ts";
import type { TestEvent } from "./testing/index.ts";
import type { CrdtType } from "./type.ts";
import { VersionVector } from "./vector.ts";

/** Three replicas whose wall clocks stand apart: the one that writes first need not have the earliest time. */
const ACTORS = [1, 2, 3].map((node) => createActor(new Uint8Array(8).fill(node), new Uint8Array(8)));
const CLOCKS = [200, 100, 100];

interface Scope<State, Value, Mutator extends View, View> {
  readonly type: CrdtType<State, Value, Mutator, View>;
  readonly operations: readonly ((mutator: Mutator) => unknown)[];
  readonly oracle: (events: readonly TestEvent[]) => unknown;
  readonly observe?: (value: Value) => unknown;
}

interface Replica {
  readonly body: Uint8Array;
  /** How many events of each actor it knows. */
  readonly known: readonly number[];
}

interface World {
  readonly replicas: readonly Replica[];
  readonly events: readonly TestEvent[];
  /** What each event is and what it follows, in one order: writes that did not see each other have none. */
  readonly history: readonly string[];
}

const vectorOf = (known: readonly number[]): VersionVector =>
  new VersionVector(known.flatMap((seq, index) => (seq > 0 ? [[ACTORS[index] as (typeof ACTORS)[number], seq]] : [])));

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const indexOf = (event: TestEvent): number => ACTORS.indexOf(event.actor);

const isKnown = ({ known }: Replica, event: TestEvent): boolean => (known[indexOf(event)] as number) >= event.seq;

/** Every world that three replicas can reach with at most `budget` events, in whatever order they come to know them. */
class Explorer<State, Value, Mutator extends View, View> {
  readonly #scope: Scope<State, Value, Mutator, View>;
  readonly #budget: number;
  readonly #seen = new Set<string>();
  readonly #checked = new Map<string, string>();
  readonly #queue: World[] = [];

  constructor(scope: Scope<State, Value, Mutator, View>, budget: number) {
    this.#scope = scope;
    this.#budget = budget;
  }

  /** Returns how many different worlds there are. */
  run(): number {
    const body = this.#scope.type.encode(this.#scope.type.create());
    this.#visit({ replicas: ACTORS.map(() => ({ body, known: [0, 0, 0] })), events: [], history: [] });
    for (let world = this.#queue.pop(); world !== undefined; world = this.#queue.pop()) {
      for (const index of ACTORS.keys()) this.#steps(world, index);
    }
    return this.#seen.size;
  }

  #steps(world: World, index: number): void {
    const replica = world.replicas[index] as Replica;
    if (world.events.length < this.#budget) {
      for (const operation of this.#scope.operations.keys()) this.#write(world, index, operation);
    }
    for (const event of world.events) {
      const actor = indexOf(event);
      const isNext = (replica.known[actor] as number) + 1 === event.seq;
      if (isNext && vectorOf(replica.known).includes(event.deps)) this.#deliver(world, index, event);
    }
    for (const other of ACTORS.keys()) if (other !== index) this.#join(world, index, other);
    this.#collect(world, index);
  }

  #write(world: World, index: number, operation: number): void {
    const { type, operations } = this.#scope;
    const { body, known } = world.replicas[index] as Replica;
    const seen = world.events.filter((event) => isKnown({ body, known }, event));
    const time = Math.max(CLOCKS[index] as number, ...seen.map((event) => event.time + 1));
    const actor = ACTORS[index] as (typeof ACTORS)[number];
    const seq = (known[index] as number) + 1;
    const delta = new Writer();
    const state = type.decode(body);
    const transaction = {
      actor,
      seq,
      time,
      delta,
      serial: 0,
      scratch: undefined,
      touched: undefined,
      begin: noop,
      onRollback: noop,
    };
    const note = operations[operation]?.(type.mutator(state, transaction));
    if (delta.length === 0) return;
    const event = { actor, seq, time, delta: delta.take(), deps: vectorOf(known), notes: [note] };
    const knows = known.with(index, seq);
    const history = [...world.history, `${index}${seq}:${operation}@${known.join("")}`].sort();
    this.#become({ ...world, events: [...world.events, event], history }, index, state, knows);
  }

  #deliver(world: World, index: number, event: TestEvent): void {
    const { type } = this.#scope;
    const { body, known } = world.replicas[index] as Replica;
    const state = type.decode(body);
    type.apply(state, event.delta, event);
    this.#become(world, index, state, known.with(indexOf(event), event.seq));
  }

  #join(world: World, index: number, from: number): void {
    const { type } = this.#scope;
    const { body, known } = world.replicas[index] as Replica;
    const other = world.replicas[from] as Replica;
    const [ours, theirs] = [vectorOf(known), vectorOf(other.known)];
    if (ours.includes(theirs) && !theirs.includes(ours)) return;
    const state = type.decode(body);
    type.join(state, other.body, ours, theirs);
    const smaller = type.encodeSince?.(type.decode(other.body), ours) ?? other.body;
    const since = type.decode(body);
    type.join(since, smaller, ours, theirs);
    if (this.#canonical(since) !== this.#canonical(state)) throw new Error(`encodeSince joins to something else`);
    const knows = known.map((seq, actor) => Math.max(seq, other.known[actor] as number));
    this.#become(world, index, state, knows);
  }

  #collect(world: World, index: number): void {
    const { type } = this.#scope;
    const { body, known } = world.replicas[index] as Replica;
    const all = world.replicas.map((replica) => replica.known);
    const stable = vectorOf(known.map((_, actor) => Math.min(...all.map((vector) => vector[actor] as number))));
    const state = type.decode(body);
    if ((type.collect?.(state, stable) ?? 0) > 0) this.#become(world, index, state, known);
  }

  #become(world: World, index: number, state: State, known: readonly number[]): void {
    const { type } = this.#scope;
    const replicas = world.replicas.with(index, { body: type.encode(state), known });
    this.#visit({ ...world, replicas });
    this.#check(world, state, known);
  }

  #visit(world: World): void {
    const replicas = world.replicas.map(({ body, known }) => `${known.join("")}${hex(body)}`);
    const id = `${world.history.join(" ")}|${replicas.join("|")}`;
    if (this.#seen.has(id)) return;
    this.#seen.add(id);
    this.#queue.push(world);
  }

  /** The value is the oracle's, and whoever knows the same events has the same canonical bytes. */
  #check({ history, events }: World, state: State, known: readonly number[]): void {
    const { type, oracle, observe = (value) => value } = this.#scope;
    const canonical = this.#canonical(state);
    const id = `${history.join(" ")} ${known.join("")}`;
    const before = this.#checked.get(id);
    if (before === canonical) return;
    if (before !== undefined) throw new Error(`${id}: equal vectors, different states`);
    this.#checked.set(id, canonical);
    const expected = JSON.stringify(oracle(events.filter((event) => isKnown({ body: NOTHING, known }, event))));
    const actual = JSON.stringify(observe(type.value(state)));
    if (actual !== expected) throw new Error(`${id}: got ${actual}, expected ${expected}`);
  }

  #canonical(state: State): string {
    const writer = new Writer();
    this.#scope.type.canonical(state, writer);
    return hex(writer.peek());
  }
}

const NOTHING = new Uint8Array(0);

function noop(): void {
  // The explorer takes nothing back.
}

function entries(map: Iterable<[string, unknown]>): unknown {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

const liveValues = (events: readonly TestEvent[]): unknown[] => aliveNotes(events).map(({ value }) => value);
const add = (path: string[], value: number) => ({ op: "add", path, value });
const set = (path: string[], value: unknown) => ({ op: "set", path, value });
const budget = Number(process.env["COPPICE_EXHAUSTIVE_EVENTS"] ?? 3);
const timeout = 60_000 * 20 ** Math.max(0, budget - 3);

describe(`every world of three replicas and ${budget} events`, { timeout }, () => {
  it("of counters in a map, with collections", () => {
    const worlds = new Explorer(
      {
        type: orMap(gCounter),
        operations: [
          (map) => {
            map.at("k").increment(2);
            return add(["k"], 2);
          },
          (map) => (map.delete("k") ? { op: "remove", path: ["k"] } : undefined),
        ],
        oracle: (events) => entries(sums(aliveNotes(events))),
        observe: (value) => entries(Object.entries(value)),
      },
      budget,
    ).run();
    expect(worlds).toBeGreaterThan(1000);
  });

  it("of counters that go both ways", () => {
    const worlds = new Explorer(
      {
        type: pnCounter,
        operations: [1, -3].map((amount) => (counter: { increment(by: number): void }) => {
          counter.increment(amount);
          return add([], amount);
        }),
        oracle: (events) => sums(aliveNotes(events)).get("") ?? 0,
      },
      budget,
    ).run();
    expect(worlds).toBeGreaterThan(1000);
  });

  it("of bounded counters: never below 0, and rights add up", () => {
    const attempt = (change: () => void): void => {
      try {
        change();
      } catch (error) {
        if (!(error instanceof CrdtError && error.code === "INSUFFICIENT_RIGHTS")) throw error;
      }
    };
    const worlds = new Explorer(
      {
        type: boundedCounter,
        operations: [
          (counter) => counter.increment(1),
          (counter) => attempt(() => counter.decrement(1)),
          (counter) => attempt(() => counter.transfer(ACTORS[1] ?? ("" as never), 1)),
        ],
        oracle: () => true,
        observe: (value) => value >= 0,
      },
      budget,
    ).run();
    expect(worlds).toBeGreaterThan(1000);
  });

  it("of maps of values", () => {
    const worlds = new Explorer(
      {
        type: lwwMap<number>(),
        operations: [
          (map) => {
            map.set("k", 1);
            return set(["k"], 1);
          },
          (map) => {
            map.set("k", 2);
            return set(["k"], 2);
          },
          (map) => (map.delete("k") ? { op: "remove", path: ["k"] } : undefined),
        ],
        oracle: (events) => entries(lastWrites(aliveNotes(events))),
        observe: (value) => entries(Object.entries(value)),
      },
      budget,
    ).run();
    expect(worlds).toBeGreaterThan(1000);
  });

  it("of add-wins sets", () => {
    const worlds = new Explorer(
      {
        type: orSet<string>(),
        operations: [
          (elements) => {
            elements.add("k");
            return set(["k"], true);
          },
          (elements) => (elements.delete("k") ? { op: "remove", path: ["k"] } : undefined),
        ],
        oracle: (events) => (liveValues(events).length > 0 ? ["k"] : []),
      },
      budget,
    ).run();
    expect(worlds).toBeGreaterThan(1000);
  });

  it("of registers that show all", () => {
    const worlds = new Explorer(
      {
        type: mvRegister<number>(),
        operations: [1, 2].map((value) => (register: { set(value: number): void }) => {
          register.set(value);
          return set([], value);
        }),
        oracle: (events) =>
          liveValues(events)
            .map(Number)
            .sort((a, b) => a - b),
        observe: (values) => [...values].sort((a, b) => a - b),
      },
      budget,
    ).run();
    expect(worlds).toBeGreaterThan(1000);
  });

  it("of flags", () => {
    const worlds = new Explorer(
      {
        type: ewFlag,
        operations: [
          (flag) => {
            flag.enable();
            return set([], true);
          },
          (flag) => {
            flag.disable();
            return set([], false);
          },
        ],
        oracle: (events) => liveValues(events).includes(true),
      },
      budget,
    ).run();
    expect(worlds).toBeGreaterThan(1000);
  });
});
