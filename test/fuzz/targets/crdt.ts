import {
  type Actor,
  type AnyCrdtType,
  Reader,
  type Stamp,
  VersionVector,
  Writer,
  createActor,
  readValue,
  writeValue,
} from "@coppice/crdt";
import { type TestReplica, createReplicas, syncAll } from "@coppice/crdt/testing";
import { Random } from "../../simulation/random.ts";
import { SUBJECTS, type Subject } from "../../simulation/subjects.ts";
import { type Target, accept, isNamed, mustBeBounded, mustBePlain, mustEqual } from "../target.ts";

/** What a type throws for bytes that nobody could have written. */
const isTyped = isNamed("CrdtError");
/** A stranger's actor, for events that nobody here has seen. */
const STRANGER: Actor = createActor(new Uint8Array(8).fill(9), new Uint8Array(8).fill(9));
const TIME = 1e15;
const SEED_BYTES_MAX = 600;
/** Types whose libraries are loaded only when they are wanted: looking at what has run takes longer with each module. */
const LIBRARIES = ["yjs", "automerge"];

/** A history of one type: real deltas and states, and a replica that knows them all. */
interface Past {
  readonly type: AnyCrdtType;
  readonly deltas: readonly Uint8Array[];
  readonly states: readonly Uint8Array[];
  readonly body: Uint8Array;
  readonly vector: VersionVector;
  /** The next event of a replica that has written before. */
  readonly next: Stamp;
}

function pastOf({ type, write }: Subject, name: string): Past {
  const random = new Random(1, `past of ${name}`);
  const replicas = createReplicas(type, 2) as TestReplica<unknown, unknown, unknown, unknown>[];
  const states: Uint8Array[] = [type.encode(type.create())];
  for (let round = 0; round < 16; round++) {
    const replica = random.pick(replicas);
    replica.mutate((mutator) => write(mutator, random, "p"));
    if (round % 4 === 3) syncAll(replicas);
    if (round % 5 === 4) states.push(type.encode(replica.state));
  }
  syncAll(replicas);
  const [first, second] = replicas;
  if (first === undefined || second === undefined) throw new TypeError("there are two replicas");
  const deltas = [...first.events.values()].map(({ delta }) => delta).filter(isShort);
  const seq = first.vector.get(second.actor) + 1;
  const body = type.encode(first.state);
  const next = { actor: second.actor, seq, time: TIME };
  return { type, deltas, states: [...states, body].filter(isShort), body, vector: first.vector.clone(), next };
}

function isShort(bytes: Uint8Array): boolean {
  return bytes.length <= SEED_BYTES_MAX;
}

function canonicalOf(type: AnyCrdtType, state: unknown): Uint8Array {
  const writer = new Writer();
  type.canonical(state, writer);
  return writer.take();
}

/** Equal of states that nothing tells apart. A library may write the same document in several ways. */
function printOf(type: AnyCrdtType, state: unknown): Uint8Array {
  return LIBRARIES.includes(type.name) ? canonicalOf(type, state) : type.encode(state);
}

/** What must hold of a state wherever it came from. */
function checkState(type: AnyCrdtType, state: unknown, input: Uint8Array): Uint8Array {
  const body = type.encode(state);
  const again: unknown = type.decode(body);
  // What libraries make of a document that they could not have written is theirs: it must only be read again.
  if (!LIBRARIES.includes(type.name)) {
    mustEqual(
      canonicalOf(type, again),
      canonicalOf(type, state),
      "a state reads otherwise once it was written and read",
    );
    mustEqual(type.encode(again), body, "a state is not written as it was read");
  }
  const value: unknown = type.value(state);
  mustBePlain(value);
  mustBeBounded(value, input, 256);
  return body;
}

/** An event that arrives: applied or refused, never half of it. */
function deltaTarget(name: string, subject: Subject): Target {
  const { type, deltas, body, next } = pastOf(subject, name);
  let state: unknown;
  let before: Uint8Array = new Uint8Array();
  return {
    name: `delta:${name}`,
    seeds: deltas,
    reset: () => (state = undefined),
    run(input) {
      if (state === undefined) {
        state = type.decode(body);
        before = printOf(type, state);
      }
      const isApplied = accept(() => {
        type.apply(state, input, next, new Set());
        return true;
      }, isTyped);
      if (isApplied === undefined) {
        mustEqual(printOf(type, state), before, "a refused delta changed the state");
        return false;
      }
      const changed = state;
      state = undefined;
      checkState(type, changed, input);
      return true;
    },
  };
}

/** A state that arrives, or is read from a file: taken whole or refused. */
function stateTarget(name: string, subject: Subject): Target {
  const { type, states, body, vector } = pastOf(subject, name);
  const theirs = vector.clone();
  theirs.set(STRANGER, 5);
  return {
    name: `state:${name}`,
    seeds: states,
    run(input) {
      const decoded: unknown = accept(() => type.decode(input), isTyped);
      const ours: unknown = type.decode(body);
      const before = printOf(type, ours);
      const isJoined = accept(() => {
        type.join(ours, input, vector, theirs, new Set());
        return true;
      }, isTyped);
      if (isJoined === undefined)
        mustEqual(printOf(type, ours), before, "a refused state changed the one it was joined to");
      else checkState(type, ours, input);
      // A state made for a replica that knows more leaves values out: it can be joined, but not read alone.
      if (decoded === undefined) return isJoined === true;
      checkState(type, decoded, input);
      const canonical = canonicalOf(type, decoded);
      type.collect?.(decoded, theirs);
      mustEqual(canonicalOf(type, decoded), canonical, "collecting garbage changed what readers see");
      return true;
    },
  };
}

/** User values have one encoding each. */
function valueTarget(): Target {
  const values = [null, true, 0, 63, 64, -1, 0.5, -0, Number.NaN, "", "é", "x".repeat(70), 10n ** 20n, -5n];
  const nested = [[1, [2, []]], { a: { b: null }, __proto__x: 1 }, new Date(0), Uint8Array.of(1, 2)];
  return {
    name: "value",
    seeds: [...values, ...nested].map((value) => {
      const writer = new Writer();
      writeValue(writer, value);
      return writer.take();
    }),
    run(input) {
      const reader = new Reader(input);
      const value = accept(() => readValue(reader), isTyped);
      if (value === undefined) return false;
      mustBeBounded(value, input);
      mustBePlain(value);
      const writer = new Writer();
      writeValue(writer, value);
      mustEqual(writer.take(), input.subarray(0, reader.at), "a value has two encodings");
      return true;
    },
  };
}

function vectorTarget(): Target {
  const encode = (...actors: readonly number[]): Uint8Array => {
    const writer = new Writer();
    const entries = actors.map((n) => [createActor(new Uint8Array(8).fill(n), new Uint8Array(8)), n * 99] as const);
    new VersionVector(entries).encode(writer);
    return writer.take();
  };
  return {
    name: "vector",
    seeds: [encode(), encode(1), encode(3, 1, 2)],
    run(input) {
      const reader = new Reader(input);
      const vector = accept(() => VersionVector.decode(reader), isTyped);
      if (vector === undefined) return false;
      mustBeBounded(vector, input);
      const writer = new Writer();
      vector.encode(writer);
      mustEqual(writer.take(), input.subarray(0, reader.at), "a vector has two encodings");
      return true;
    },
  };
}

async function documentOf(name: string): Promise<Subject> {
  const { DOCUMENTS: documents } = await import("../../simulation/documents.ts");
  const subject = documents.get(name);
  if (subject === undefined) throw new TypeError(`no document ${name}`);
  return subject;
}

export function crdtTargets(): Map<string, () => Target | Promise<Target>> {
  const targets = new Map<string, () => Target | Promise<Target>>([
    ["value", valueTarget],
    ["vector", vectorTarget],
  ]);
  for (const [name, subject] of SUBJECTS) {
    targets.set(`delta:${name}`, () => deltaTarget(name, subject));
    targets.set(`state:${name}`, () => stateTarget(name, subject));
  }
  for (const name of LIBRARIES) {
    targets.set(`delta:${name}`, async () => deltaTarget(name, await documentOf(name)));
    targets.set(`state:${name}`, async () => stateTarget(name, await documentOf(name)));
  }
  return targets;
}
