import { createActor } from "../actor.ts";
import { CrdtError } from "../error.ts";
import type { CrdtType } from "../type.ts";
import { VersionVector } from "../vector.ts";
import { Random } from "./random.ts";
import {
  type TestEvent,
  TestReplica,
  assertConvergent,
  createReplicas,
  show,
  syncAll,
  walkOver,
} from "./test-replica.ts";

/** One kind of change: makes it and returns what an oracle needs to know of it. */
export type SuiteOperation<Mutator> = (mutator: Mutator, random: Random) => unknown;

/** What the suite needs. The runner's functions are injected, so that any test runner serves. */
export interface CrdtSuiteOptions<State, Value, Mutator extends View, View> {
  readonly describe: (name: string, body: () => void) => void;
  /** The third argument is a generous limit in milliseconds: a slow machine is no broken law. */
  readonly it: (name: string, body: () => void, timeoutMs?: number) => void;
  readonly type: CrdtType<State, Value, Mutator, View>;
  readonly operations: readonly SuiteOperation<Mutator>[];
  /** What the value must be, as a plain function of the events known: compared after every step. */
  readonly oracle?: (events: readonly TestEvent[]) => unknown;
  /** What of the value the oracle is compared with; all of it by default. */
  readonly observe?: (value: Value) => unknown;
  /**
   * Whether a callback that throws is taken back (by default), or what it did before is published: for libraries that
   * cannot take anything back.
   */
  readonly onThrow?: "rollback" | "publish";
  /** Histories per law; 100 by default. */
  readonly runs?: number;
  /** The first seed; 1 by default. */
  readonly seed?: number;
}

/** Runs 1 to 3 random operations in one event on `replica`. */
export function randomOperations<State, Value, Mutator extends View, View>(
  replica: TestReplica<State, Value, Mutator, View>,
  operations: readonly SuiteOperation<Mutator>[],
  random: Random,
): TestEvent | undefined {
  const count = 1 + (random.chance(0.3) ? random.below(3) : 0);
  return replica.mutate((mutator) => Array.from({ length: count }, () => random.pick(operations)(mutator, random)));
}

const LAW_TIMEOUT_MS = 600_000;

class Rollback extends Error {}

function stepRandomly<State, Value, Mutator extends View, View>(
  replicas: readonly TestReplica<State, Value, Mutator, View>[],
  operations: readonly SuiteOperation<Mutator>[],
  random: Random,
  onThrow: "rollback" | "publish" = "rollback",
): TestReplica<State, Value, Mutator, View> {
  const replica = random.pick(replicas);
  const other = random.pick(replicas);
  const dice = random.float();
  if (dice < 0.45) randomOperations(replica, operations, random);
  else if (dice < 0.8) for (const event of random.shuffle(other.events.values()).slice(0, 8)) replica.receive(event);
  else if (dice < 0.9) replica.joinFrom(other, random.chance(0.5));
  else if (dice < 0.93) replica.reload();
  else if (dice < 0.96) replica.collect(commonVector(replicas));
  else assertRollback(replica, operations, random, onThrow);
  return replica;
}

/** What every replica knows. */
function commonVector(replicas: readonly { readonly vector: VersionVector }[]): VersionVector {
  const common = new VersionVector();
  for (const [actor] of replicas[0]?.vector ?? []) {
    common.set(actor, Math.min(...replicas.map(({ vector }) => vector.get(actor))));
  }
  return common;
}

function assertRollback<State, Value, Mutator extends View, View>(
  replica: TestReplica<State, Value, Mutator, View>,
  operations: readonly SuiteOperation<Mutator>[],
  random: Random,
  onThrow: "rollback" | "publish",
): void {
  const canonical = replica.canonical();
  try {
    replica.mutate((mutator) => {
      for (let count = random.below(5); count >= 0; count--) random.pick(operations)(mutator, random);
      throw new Rollback();
    });
  } catch (error) {
    if (!(error instanceof Rollback)) throw error;
  }
  if (onThrow === "rollback") equal(replica.canonical(), canonical, "a callback that throws changes nothing");
}

function equal(actual: unknown, expected: unknown, law: string): void {
  const [left, right] = [sorted(actual), sorted(expected)];
  if (left !== right) throw new Error(`${law}: got ${left}, expected ${right}`);
}

/** A value as text, with the keys of its objects in order. */
function sorted(value: unknown): string {
  return show(value, (item) => Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))));
}

/** A random history over `count` replicas; calls `after` for each step's replica. */
export function randomHistory<State, Value, Mutator extends View, View>(
  options: Pick<CrdtSuiteOptions<State, Value, Mutator, View>, "type" | "operations" | "onThrow">,
  random: Random,
  steps: number,
  after: (replica: TestReplica<State, Value, Mutator, View>) => void = () => undefined,
): TestReplica<State, Value, Mutator, View>[] {
  const replicas = createReplicas(options.type, 2 + random.below(3));
  for (let step = 0; step < steps; step++) {
    after(stepRandomly(replicas, options.operations, random, options.onThrow));
  }
  return replicas;
}

/**
 * The laws that every CRDT type must keep, over seeded random histories with loss, duplication, reordering, state
 * joins, restarts and callbacks that throw. A failure names its seed.
 */
export function crdtSuite<State, Value, Mutator extends View, View>(
  options: CrdtSuiteOptions<State, Value, Mutator, View>,
): void {
  const { describe, it, type, oracle, runs = 100, seed = 1 } = options;
  const observe = options.observe ?? ((value: Value): unknown => value);

  const law = (name: string, body: (random: Random) => void): void => {
    it(
      name,
      () => {
        for (let run = 0; run < runs; run++) {
          try {
            body(new Random(seed + run));
          } catch (cause) {
            throw new Error(`seed ${seed + run}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
          }
        }
      },
      LAW_TIMEOUT_MS,
    );
  };

  describe(`${type.name} keeps the laws`, () => {
    law("equal version vectors mean equal values and equal canonical bytes", (random) => {
      const replicas = randomHistory(options, random, 40);
      assertTelling(replicas);
      syncAll(replicas);
      assertConvergent(replicas);
      const [first, ...rest] = replicas;
      for (const replica of rest) equal(replica.value(), first?.value(), "equal values");
    });
    if (oracle !== undefined) {
      law("the value is what the history says, after every step", (random) => {
        randomHistory(options, random, 40, (replica) => {
          equal(observe(replica.value()), oracle([...replica.events.values()]), "the oracle's value");
        });
      });
    }
    if (isRecord(type.value(type.create()))) {
      law("the top-level keys that changed are told, here and there", (random) => assertTouched(options, random));
    }
    law("join is commutative, associative and idempotent", (random) => assertJoinLaws(options, random));
    law("a state joined equals its events applied; since a vector too", (random) => assertDeltaState(options, random));
    law("encoding and decoding give the same state", (random) => {
      for (const replica of randomHistory(options, random, 40)) {
        assertFrozen(replica.value());
        const { canonical, value } = { canonical: replica.canonical(), value: replica.value() };
        replica.reload();
        equal(replica.canonical(), canonical, "canonical bytes after a round trip");
        equal(replica.value(), value, "the value after a round trip");
      }
    });
    if (options.onThrow !== "publish") {
      law("a mutator writes in its callback alone", (random) => assertClosed(options, random));
    }
    it("the operations that it names are there", () => {
      const [replica] = createReplicas(type, 1);
      replica?.mutate((mutator) => {
        for (const name of type.operations ?? []) {
          const method: unknown = (mutator as Readonly<Record<string, unknown>>)[name];
          if (typeof method !== "function") throw new Error(`the mutator has no operation ${name}`);
        }
      });
    });
    law("garbage never throws untyped and never changes the state", (random) => assertGarbage(options, random));
  });
}

/** Throws for replicas that read differently and have the same canonical bytes. */
function assertTelling<State, Value, Mutator extends View, View>(
  replicas: readonly TestReplica<State, Value, Mutator, View>[],
): void {
  const values = new Map<string, string>();
  for (const replica of replicas) {
    const [canonical, value] = [replica.canonical(), sorted(replica.value())];
    equal(value, values.get(canonical) ?? value, "the value behind equal canonical bytes");
    values.set(canonical, value);
  }
}

/** Throws unless nobody can change a value. Dates and bytes cannot be frozen: they are copies. */
function assertFrozen(value: unknown): void {
  if (typeof value !== "object" || value === null || value instanceof Date || ArrayBuffer.isView(value)) return;
  if (!Object.isFrozen(value)) throw new Error(`the value is not frozen: ${show(value)}`);
  for (const part of Object.values(value)) assertFrozen(part);
}

function assertClosed<State, Value, Mutator extends View, View>(
  options: CrdtSuiteOptions<State, Value, Mutator, View>,
  random: Random,
): void {
  const [replica] = randomHistory(options, random, 10);
  let kept: Mutator | undefined;
  replica?.mutate((mutator) => void (kept = mutator));
  const before = replica?.canonical();
  try {
    if (kept !== undefined) random.pick(options.operations)(kept, random);
  } catch {
    // It is refused; an operation may have its own opinion of how.
  }
  equal(replica?.canonical(), before, "a mutator whose callback is over changes nothing");
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function assertTouched<State, Value, Mutator extends View, View>(
  options: CrdtSuiteOptions<State, Value, Mutator, View>,
  random: Random,
): void {
  const { type } = options;
  const former = new Map<unknown, unknown>();
  randomHistory(options, random, 40, (replica) => {
    const before = former.get(replica) ?? type.value(type.create());
    const after: unknown = replica.value();
    former.set(replica, after);
    if (!isRecord(before) || !isRecord(after)) return;
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      if (!replica.touched.has(key)) equal(after[key], before[key], `${key} has changed, and was not told`);
    }
    replica.touched.clear();
  });
}

let forks = 0;

function fork<State, Value, Mutator extends View, View>(
  replica: TestReplica<State, Value, Mutator, View>,
): TestReplica<State, Value, Mutator, View> {
  const node = Uint8Array.from([255, 0, 0, 0, 0, 0, forks >> 8, forks]);
  forks++;
  const copy = new TestReplica(replica.type, createActor(node, node), () => 0);
  copy.joinFrom(replica);
  agree(copy, replica, "a join into nothing copies");
  return copy;
}

/** Compares two replicas that know the same; a type that changes by itself first tells what it did. */
function agree<State, Value, Mutator extends View, View>(
  left: TestReplica<State, Value, Mutator, View>,
  right: TestReplica<State, Value, Mutator, View>,
  law: string,
): void {
  if (left.type.settle !== undefined) syncAll([left, right]);
  equal(left.canonical(), right.canonical(), law);
}

function assertJoinLaws<State, Value, Mutator extends View, View>(
  options: CrdtSuiteOptions<State, Value, Mutator, View>,
  random: Random,
): void {
  const replicas = randomHistory(options, random, 30);
  const [a, b] = replicas;
  const c = replicas.at(-1);
  if (a === undefined || b === undefined || c === undefined) return;
  const ab = fork(a);
  ab.joinFrom(b);
  const ba = fork(b);
  ba.joinFrom(a);
  agree(ab, ba, "a + b = b + a");
  const once = ab.canonical();
  ab.joinFrom(b);
  ab.joinFrom(ba, true);
  equal(ab.canonical(), once, "a + b + b = a + b");
  ab.joinFrom(c);
  const bc = fork(b);
  bc.joinFrom(c);
  const abc = fork(a);
  abc.joinFrom(bc);
  agree(ab, abc, "(a + b) + c = a + (b + c)");
}

function assertDeltaState<State, Value, Mutator extends View, View>(
  options: CrdtSuiteOptions<State, Value, Mutator, View>,
  random: Random,
): void {
  const replicas = randomHistory(options, random, 30);
  const [a, b] = replicas;
  if (a === undefined || b === undefined) return;
  const [full, since, events, walks] = [fork(a), fork(a), fork(a), fork(a)];
  full.joinFrom(b);
  since.joinFrom(b, true);
  for (const event of random.shuffle(b.events.values())) events.receive(event);
  agree(since, full, "encodeSince joins to the same state");
  agree(events, full, "events give the same state");
  walks.receiveInWalks(b.events.values());
  agree(walks, full, "events that are walked over give the same state");
}

function assertGarbage<State, Value, Mutator extends View, View>(
  options: CrdtSuiteOptions<State, Value, Mutator, View>,
  random: Random,
): void {
  const { type } = options;
  const [a, b] = randomHistory(options, random, 20);
  if (a === undefined || b === undefined) return;
  const before = a.canonical();
  const bodies = [type.encode(b.state), ...[...b.events.values()].slice(0, 5).map((event) => event.delta)];
  const stamp = { actor: createActor(new Uint8Array(8).fill(9), new Uint8Array(8)), seq: 1, time: 1 };
  for (let count = 0; count < 20; count++) {
    const bytes = mutated(random.pick(bodies), random);
    const target = fork(a);
    for (const attempt of [
      () => type.apply(target.state, bytes, stamp),
      () => type.applyAll?.(target.state, walkOver(stamp, bytes)),
      () => type.join(target.state, bytes, target.vector, new VersionVector(b.vector)),
      () => void type.decode(bytes),
    ]) {
      const unchanged = target.canonical();
      try {
        attempt();
      } catch (error) {
        if (!(error instanceof CrdtError)) throw error;
        equal(target.canonical(), unchanged, "what is refused changes nothing");
      }
    }
  }
  equal(a.canonical(), before, "the source is untouched");
}

function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  if (random.chance(0.2)) return random.bytes(random.below(60));
  const copy = bytes.slice(0, random.chance(0.3) ? random.below(bytes.length + 1) : bytes.length);
  for (let count = random.below(4); count >= 0 && copy.length > 0; count--) {
    copy[random.below(copy.length)] = random.chance(0.3) ? 255 : random.below(256);
  }
  return copy;
}
