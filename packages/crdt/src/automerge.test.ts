import * as A from "@automerge/automerge";
import { describe, expect, it } from "vitest";
import { type AutomergeMutator, automergeDoc } from "./automerge.ts";
import { Reader } from "./codec.ts";
import {
  type Random,
  Random as Seeded,
  assertConvergent,
  createReplicas,
  crdtSuite,
  randomHistory,
  syncAll,
} from "./testing/index.ts";

interface Doc {
  map?: Record<string, number>;
  list?: number[];
  text?: string;
  bytes?: Uint8Array;
  [key: `key ${string}`]: number;
}

const type = automergeDoc<Doc>();

function set(mutator: AutomergeMutator<Doc>, key: `key ${string}`, value: number): void {
  mutator.change((doc) => {
    doc[key] = value;
  });
}

const operations = [
  (mutator: AutomergeMutator<Doc>, random: Random): void => {
    mutator.change((doc) => {
      doc[`key ${random.pick(["a", "b"])}`] = random.below(10);
    });
  },
  (mutator: AutomergeMutator<Doc>, random: Random): void => {
    mutator.change((doc) => {
      doc.list ??= [];
      if (doc.list.length > 0 && random.chance(0.4)) doc.list.splice(random.below(doc.list.length), 1);
      else doc.list.splice(random.below(doc.list.length + 1), 0, random.below(10));
    });
  },
  (mutator: AutomergeMutator<Doc>, random: Random): void => {
    mutator.change((doc) => {
      doc.text ??= "";
      A.splice(doc, ["text"], random.below(doc.text.length + 1), 0, "abc".slice(random.below(3)));
    });
  },
  (mutator: AutomergeMutator<Doc>): void => {
    mutator.change((doc) => {
      delete doc["key a"];
    });
  },
  // A change that changes nothing makes no event.
  (mutator: AutomergeMutator<Doc>): void => {
    mutator.change(() => undefined);
  },
];

crdtSuite({ describe, it, type, operations, runs: 25 });

describe("Automerge documents", () => {
  it("brings integers to other replicas that no number of JavaScript's can hold", () => {
    const [a, b] = createReplicas(type, 2);
    a?.mutate((mutator) => set(mutator, "key a", 2 ** 60));
    syncAll([a, b].filter((replica) => replica !== undefined));
    expect(b?.value()).toEqual(a?.value());
    b?.reload();
    expect(b?.value()).toEqual({ "key a": 2n ** 60n });
  });

  it("takes changes that were made elsewhere, once, and none that are damaged or early", () => {
    const [a, b] = createReplicas(type, 2);
    let own = A.change(A.init<Doc>(), (doc) => void (doc["key a"] = 1));
    const first = A.getAllChanges(own);
    own = A.change(own, (doc) => void (doc["key b"] = 2));
    const second = A.getAllChanges(own).slice(1);
    expect(() => a?.mutate((mutator) => mutator.applyChanges(second))).toThrow(/builds on what is not there/);
    expect(() => a?.mutate((mutator) => mutator.applyChanges([Uint8Array.of(1, 2)]))).toThrow(/refuses a change/);
    a?.mutate((mutator) => mutator.applyChanges(first));
    a?.mutate((mutator) => mutator.applyChanges([...first, ...second]));
    expect(() =>
      a?.mutate((mutator) => {
        mutator.applyChanges(A.getAllChanges(A.change(own, (doc) => void (doc["key a"] = 3))));
        throw new Error("taken back");
      }),
    ).toThrow("taken back");
    expect(a?.value()).toEqual({ "key a": 1, "key b": 2 });
    if (a !== undefined && b !== undefined) syncAll([a, b]);
    expect(b?.value()).toEqual({ "key a": 1, "key b": 2 });
  });

  it("read as documents that Automerge merges by itself", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const replicas = randomHistory({ type, operations }, new Seeded(seed), 30);
      syncAll(replicas);
      assertConvergent(replicas);
      let merged = A.init<Doc>();
      for (const event of replicas[0]?.events.values() ?? []) {
        const reader = new Reader(event.delta);
        while (reader.left > 0) merged = A.applyChanges(merged, [reader.bytes().slice()])[0];
      }
      for (const replica of replicas) expect(replica.value()).toEqual(A.toJS(merged));
    }
  });

  it("take back all changes of a callback that throws", () => {
    const [a, b] = createReplicas(type, 2);
    if (a === undefined || b === undefined) return;
    a.mutate((mutator) => set(mutator, "key a", 1));
    expect(() =>
      a.mutate((mutator) => {
        set(mutator, "key a", 2);
        set(mutator, "key b", 3);
        throw new Error("stop");
      }),
    ).toThrow("stop");
    expect(a.value()).toEqual({ "key a": 1 });
    a.mutate((mutator) => set(mutator, "key b", 4));
    syncAll([a, b]);
    assertConvergent([a, b]);
    expect(b.value()).toEqual({ "key a": 1, "key b": 4 });
  });

  it("are without what was taken back, also once others' changes were refused", () => {
    const [a, b] = createReplicas(type, 2);
    if (a === undefined || b === undefined) return;
    a.mutate((mutator) => set(mutator, "key a", 1));
    syncAll([a, b]);
    const others = b.mutate((mutator) => set(mutator, "key b", 2));
    const changes = others === undefined ? [] : [new Reader(others.delta).bytes().slice()];
    expect(() =>
      a.mutate((mutator) => {
        // More than is kept beside what was saved.
        mutator.change((doc) => void (doc.bytes = new Seeded(1).bytes(100_000)));
        mutator.applyChanges(changes);
        throw new Error("stop");
      }),
    ).toThrow("stop");
    expect(a.value()).toEqual({ "key a": 1 });
    expect(() => a.mutate((mutator) => mutator.applyChanges([Uint8Array.of(1, 2)]))).toThrow(/refuses a change/);
    expect(a.value()).toEqual({ "key a": 1 });
  });

  it("write under the event's actor", () => {
    const [a] = createReplicas(type, 1);
    a?.mutate((mutator) => set(mutator, "key a", 1));
    expect(a === undefined ? undefined : A.getActorId(a.state.doc)).toBe(a?.actor);
  });
});
