import { describe, expect, it } from "vitest";
import { Writer } from "./codec.ts";
import { gCounter } from "./g-counter.ts";
import { lwwMap } from "./lww-map.ts";
import { type Note, aliveNotes, lastWrites, sums } from "./oracle.test-support.ts";
import { orMap } from "./or-map.ts";
import { rwSet } from "./rw-set.ts";
import { type TestEvent, type TestReplica, createReplicas } from "./testing/index.ts";
import type { CrdtType } from "./type.ts";

/** A step: replica 0 or 1 does an operation, takes the other's events or state, or restarts. */
type Step = readonly ["operation", number, number] | readonly ["events" | "state" | "reload", number];

interface Scope<Mutator extends View, View> {
  readonly type: CrdtType<unknown, unknown, Mutator, View>;
  readonly operations: readonly ((mutator: Mutator) => Note)[];
  readonly oracle: (events: readonly TestEvent[]) => unknown;
  readonly read: (value: never) => unknown;
}

function stepsOf(operations: number): Step[] {
  const steps: Step[] = [];
  for (const replica of [0, 1]) {
    for (let operation = 0; operation < operations; operation++) steps.push(["operation", replica, operation]);
    steps.push(["events", replica], ["state", replica], ["reload", replica]);
  }
  return steps;
}

/** Runs every history of `depth` steps, except those that reach a state seen before with as many steps left. */
function explore<Mutator extends View, View>(
  scope: Scope<Mutator, View>,
  depth: number,
): { states: number; steps: number } {
  const steps = stepsOf(scope.operations.length);
  const seen = new Set<string>();
  let run = 0;
  const visit = (history: readonly Step[]): void => {
    const replicas = replay(scope, history);
    run++;
    check(scope, replicas, history);
    const id = `${depth - history.length} ${replicas.map(identity).join(" ")}`;
    if (seen.has(id) || history.length === depth) return;
    seen.add(id);
    for (const step of steps) visit([...history, step]);
  };
  visit([]);
  return { states: seen.size, steps: run };
}

type Replica<Mutator extends View, View> = TestReplica<unknown, unknown, Mutator, View>;

function replay<Mutator extends View, View>(
  scope: Scope<Mutator, View>,
  history: readonly Step[],
): Replica<Mutator, View>[] {
  const replicas = createReplicas(scope.type, 2);
  for (const step of history) {
    const replica = replicas[step[1]];
    const other = replicas[1 - step[1]];
    if (replica === undefined || other === undefined) continue;
    if (step[0] === "operation") replica.mutate((mutator) => scope.operations[step[2]]?.(mutator));
    else if (step[0] === "events") for (const event of other.events.values()) replica.receive(event);
    else if (step[0] === "state") replica.joinFrom(other, true);
    else replica.reload();
  }
  return replicas;
}

/** All that can matter later: the encoded state, and what is known. */
function identity<Mutator extends View, View>(replica: Replica<Mutator, View>): string {
  const writer = new Writer();
  replica.vector.encode(writer);
  writer.raw(replica.type.encode(replica.state));
  return Buffer.from(writer.peek()).toString("latin1");
}

function check<Mutator extends View, View>(
  scope: Scope<Mutator, View>,
  replicas: readonly Replica<Mutator, View>[],
  history: readonly Step[],
): void {
  const [a, b] = replicas;
  for (const replica of replicas) {
    const expected = JSON.stringify(scope.oracle([...replica.events.values()]));
    const actual = JSON.stringify(scope.read(replica.value() as never));
    if (actual !== expected) throw new Error(`${JSON.stringify(history)}: got ${actual}, expected ${expected}`);
  }
  if (a?.vector.equals(b?.vector ?? a.vector) === true && a.canonical() !== b?.canonical()) {
    throw new Error(`${JSON.stringify(history)}: equal vectors, different states`);
  }
}

const remove: Note = { op: "remove", path: ["k"] };
const ordered = (entries: Iterable<[string, unknown]>): unknown => [...entries].sort(([x], [y]) => (x < y ? -1 : 1));
const depth = Number(process.env["COPPICE_EXHAUSTIVE_DEPTH"] ?? 5);

describe(`every history of two replicas and ${depth} steps`, () => {
  it("of a counter in a map", () => {
    const { states } = explore(
      {
        type: orMap(gCounter) as never,
        operations: [
          (map: { at(key: string): { increment(): void } }) => {
            map.at("k").increment();
            return { op: "add", path: ["k"], value: 1 };
          },
          (map: unknown) => {
            (map as { delete(key: string): void }).delete("k");
            return remove;
          },
        ],
        oracle: (events) => ordered(sums(aliveNotes(events))),
        read: (value) => ordered(Object.entries(value)),
      },
      depth,
    );
    expect(states).toBeGreaterThan(100);
  });

  it("of a map of values", () => {
    const set = (value: number) => (map: { set(key: string, value: number): void }) => {
      map.set("k", value);
      return { op: "set", path: ["k"], value } as const;
    };
    const { states } = explore(
      {
        type: lwwMap() as never,
        operations: [
          set(1),
          set(2),
          (map: unknown) => {
            (map as { delete(key: string): void }).delete("k");
            return remove;
          },
        ],
        oracle: (events) => ordered(lastWrites(aliveNotes(events))),
        read: (value) => ordered(Object.entries(value)),
      },
      depth,
    );
    expect(states).toBeGreaterThan(100);
  });

  it("of a remove-wins set", () => {
    const operation =
      (added: boolean) =>
      (elements: { add(e: string): void; delete(e: string): void }): Note => {
        if (added) elements.add("k");
        else elements.delete("k");
        return { op: "set", path: ["k"], value: added };
      };
    const { states } = explore(
      {
        type: rwSet() as never,
        operations: [operation(true), operation(false)],
        oracle: (events) => {
          const alive = aliveNotes(events);
          return alive.length > 0 && alive.every((note) => note.value === true) ? ["k"] : [];
        },
        read: (value) => value,
      },
      depth,
    );
    expect(states).toBeGreaterThan(100);
  });
});
