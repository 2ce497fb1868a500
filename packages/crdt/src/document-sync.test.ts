/**
 * Yjs and Automerge documents through a shell that loses, reorders, restarts and forgets its log, against what the
 * libraries' own sync makes of the same operations.
 */
import * as A from "@automerge/automerge";
import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { type AutomergeMutator, automergeDoc } from "./automerge.ts";
import { Random, type TestReplica, assertConvergent, createReplicas } from "./testing/index.ts";
import type { CrdtType } from "./type.ts";
import { type YjsMutator, yjsDoc } from "./yjs.ts";

const REPLICAS = 3;
const STEPS = 60;
/** How many events a replica keeps: who lacks an older one needs the whole state. */
const LOG_LENGTH = 5;

const page = yjsDoc({ text: "text", map: "map", list: "array" });

interface Doc {
  list: number[];
  text: string;
  map: Record<string, number>;
}
const notes = automergeDoc<Doc>();

/** What a run went through: each of these must happen, or the run proves nothing. */
interface Passed {
  lost: number;
  late: number;
  restarts: number;
  states: number;
}

/** Gives `to` what is left of the log of `from`, in any order and not all of it; its state where that cannot do. */
function send<State, Value, Mutator extends View, View>(
  from: TestReplica<State, Value, Mutator, View>,
  to: TestReplica<State, Value, Mutator, View>,
  random: Random,
  passed: Passed,
): void {
  const log = [...from.events.values()];
  const sent = random.shuffle(log).filter(() => random.chance(0.7));
  passed.lost += log.length - sent.length;
  sent.forEach((event, index) => {
    if (index > 0 && sent.slice(0, index).some(({ deps }) => deps.covers(event.actor, event.seq))) passed.late++;
    to.receive(event);
  });
  const reachable = to.vector.clone();
  for (const { actor, seq } of log) if (reachable.get(actor) + 1 === seq) reachable.set(actor, seq);
  if (reachable.includes(from.vector)) return;
  to.joinFrom(from, random.chance(0.5));
  passed.states++;
}

/** A random run, until all replicas know the same. `restarted` is told of each replica whose state was loaded anew. */
function run<State, Value, Mutator extends View, View>(
  replicas: readonly TestReplica<State, Value, Mutator, View>[],
  operate: (mutator: Mutator, random: Random) => void,
  restarted: (replica: TestReplica<State, Value, Mutator, View>) => void,
  random: Random,
): Passed {
  const passed = { lost: 0, late: 0, restarts: 0, states: 0 };
  const truncate = (): void => {
    for (const { events } of replicas) for (const id of [...events.keys()].slice(0, -LOG_LENGTH)) events.delete(id);
  };
  for (let step = 0; step < STEPS; step++) {
    const replica = random.pick(replicas);
    const dice = random.float();
    if (dice < 0.6) replica.mutate((mutator) => operate(mutator, random));
    else if (dice < 0.92) send(random.pick(replicas), replica, random, passed);
    else {
      replica.reload();
      restarted(replica);
      passed.restarts++;
    }
    truncate();
  }
  const settled = (): boolean => replicas.every(({ vector }) => replicas.every((other) => vector.equals(other.vector)));
  for (let round = 0; round < 100 && !settled(); round++) {
    for (const from of replicas) for (const to of replicas) if (from !== to) send(from, to, random, passed);
    truncate();
  }
  assertConvergent(replicas);
  return passed;
}

/** The canonical bytes, of which `contentHash` is made, of a document that never saw the shell. */
function canonicalOf<State, Value, Mutator extends View, View>(
  type: CrdtType<State, Value, Mutator, View>,
  saved: Uint8Array,
): string {
  const [replica] = createReplicas(type, 1);
  const [writer] = createReplicas(type, 1);
  if (replica === undefined || writer === undefined) return "";
  type.join(replica.state, Uint8Array.of(1, ...saved), replica.vector, writer.vector);
  return replica.canonical();
}

function expectHard(passed: Passed): void {
  for (const count of Object.values(passed)) expect(count).toBeGreaterThan(0);
}

function add(sum: Passed, { lost, late, restarts, states }: Passed): void {
  sum.lost += lost;
  sum.late += late;
  sum.restarts += restarts;
  sum.states += states;
}

function editYjs({ doc }: YjsMutator, random: Random): void {
  const text = doc.getText("text");
  const list = doc.getArray<unknown>("list");
  const start = random.below(text.length + 1);
  switch (random.below(6)) {
    case 0:
    case 1:
      return text.insert(start, random.pick(["a", "bc", "def"]));
    case 2:
      return text.delete(start, random.below(Math.min(5, text.length - start + 1)));
    case 3:
      if (random.chance(0.3)) return doc.getMap("map").delete("a");
      doc.getMap("map").set(random.pick(["a", "b"]), random.below(10));
      return undefined;
    case 4:
      return list.insert(random.below(list.length + 1), [random.below(10), new Y.Map([["n", random.below(10)]])]);
    default:
      return list.length === 0 ? undefined : list.delete(random.below(list.length));
  }
}

function editAutomerge(mutator: AutomergeMutator<Doc>, random: Random): void {
  mutator.change((doc) => {
    const start = random.below(doc.text.length + 1);
    switch (random.below(5)) {
      case 0:
        return A.splice(doc, ["text"], start, 0, random.pick(["a", "bc", "def"]));
      case 1:
        return A.splice(doc, ["text"], start, random.below(Math.min(4, doc.text.length - start + 1)));
      case 2:
        return void (doc.map[random.pick(["a", "b"])] = random.below(10));
      case 3:
        return void delete doc.map["a"];
      default:
        if (doc.list.length > 0 && random.chance(0.4)) doc.list.splice(random.below(doc.list.length), 1);
        else doc.list.splice(random.below(doc.list.length + 1), 0, random.below(10));
    }
  });
}

/** Yjs' own sync: what the other lacks by its state vector, until nobody lacks anything. */
function syncYjs(docs: readonly Y.Doc[]): void {
  for (let round = 0; round <= 2 * docs.length; round++) {
    for (const from of docs) {
      for (const to of docs) {
        if (from !== to) Y.applyUpdate(to, Y.encodeStateAsUpdate(from, Y.encodeStateVector(to)));
      }
    }
  }
}

/** Automerge's own sync protocol between all pairs. */
function syncAutomerge(docs: A.Doc<Doc>[]): void {
  for (let round = 0; round <= docs.length; round++) {
    for (let left = 0; left < docs.length; left++) {
      for (let right = left + 1; right < docs.length; right++) syncPair(docs, left, right);
    }
  }
}

function syncPair(docs: A.Doc<Doc>[], left: number, right: number): void {
  const states = [A.initSyncState(), A.initSyncState()];
  for (let quiet = 0, turn = 0; quiet < 2; turn = 1 - turn) {
    const [from, to] = turn === 0 ? [left, right] : [right, left];
    const [state, message] = A.generateSyncMessage(docs[from] as A.Doc<Doc>, states[turn] as A.SyncState);
    states[turn] = state;
    quiet = message === null ? quiet + 1 : 0;
    if (message === null) continue;
    const received = A.receiveSyncMessage(docs[to] as A.Doc<Doc>, states[1 - turn] as A.SyncState, message);
    [docs[to], states[1 - turn]] = [received[0], received[1]];
  }
}

describe("through a shell that loses, reorders, restarts and truncates", () => {
  it("a Yjs document is the one that Yjs syncs itself, deletions included", () => {
    const sum = { lost: 0, late: 0, restarts: 0, states: 0 };
    for (let seed = 1; seed <= 50; seed++) {
      const replicas = createReplicas(page, REPLICAS);
      const own = replicas.map(() => new Y.Doc());
      // What each replica's user did, and nothing of what came from others.
      const record = (replica: (typeof replicas)[number]): void => {
        replica.state.doc.on("update", (update: Uint8Array, _origin: unknown, _doc: Y.Doc, change: Y.Transaction) => {
          const mirror = own[replicas.indexOf(replica)];
          if (change.local && mirror !== undefined) Y.applyUpdate(mirror, update);
        });
      };
      replicas.forEach(record);
      add(sum, run(replicas, editYjs, record, new Random(seed)));
      syncYjs(own);
      for (const doc of own) {
        const expected = {
          text: doc.getText("text").toJSON(),
          map: doc.getMap("map").toJSON(),
          list: doc.getArray("list").toJSON(),
        };
        for (const replica of replicas) expect(replica.value()).toEqual(expected);
        expect(canonicalOf(page, Y.encodeStateAsUpdate(doc))).toBe(replicas[0]?.canonical());
      }
    }
    expectHard(sum);
  }, 60_000);

  it("an Automerge document is the one that Automerge syncs itself, deletions included", () => {
    const sum = { lost: 0, late: 0, restarts: 0, states: 0 };
    for (let seed = 1; seed <= 20; seed++) {
      const replicas = createReplicas(notes, REPLICAS);
      const [first] = replicas;
      const made = first?.mutate((mutator) =>
        mutator.change((doc) => Object.assign(doc, { list: [], text: "", map: {} })),
      );
      if (first === undefined || made === undefined) throw new Error("nothing was made");
      for (const replica of replicas) replica.receive(made);
      const own = replicas.map(() => A.clone(first.state.doc));
      const operate = (mutator: AutomergeMutator<Doc>, random: Random): void => {
        const at = replicas.findIndex(({ state }) => state.doc === mutator.doc);
        const heads = A.getHeads(mutator.doc);
        editAutomerge(mutator, random);
        own[at] = A.applyChanges(own[at] as A.Doc<Doc>, A.getChangesSince(mutator.doc, heads))[0];
      };
      add(
        sum,
        run(replicas, operate, () => undefined, new Random(seed)),
      );
      syncAutomerge(own);
      for (const doc of own) {
        for (const replica of replicas) expect(replica.value()).toEqual(A.toJS(doc));
        expect(canonicalOf(notes, A.save(doc))).toBe(first.canonical());
      }
    }
    expectHard(sum);
  }, 60_000);
});
