import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { Reader } from "./codec.ts";
import { Random, assertConvergent, createReplicas, crdtSuite, randomHistory, syncAll } from "./testing/index.ts";
import { type YjsMutator, yjsDoc } from "./yjs.ts";

const type = yjsDoc({ text: "text", map: "map", list: "array" });

const operations = [
  ({ doc }: YjsMutator, random: Random): void => {
    const text = doc.getText("text");
    text.insert(random.below(text.length + 1), "abc".slice(random.below(3)), random.chance(0.3) ? { bold: true } : {});
  },
  ({ doc }: YjsMutator, random: Random): void => {
    const text = doc.getText("text");
    const start = random.below(text.length + 1);
    text.delete(start, random.below(text.length - start + 1));
  },
  ({ doc }: YjsMutator, random: Random): void => {
    const text = doc.getText("text");
    const start = random.below(text.length + 1);
    text.format(start, random.below(text.length - start + 1), {
      bold: random.pick([true, null]),
      em: random.pick([1, null]),
    });
  },
  ({ doc }: YjsMutator, random: Random): void => {
    doc.getMap("map").set(random.pick(["a", "b"]), random.below(10));
  },
  ({ doc }: YjsMutator, random: Random): void => {
    doc.getMap("map").delete(random.pick(["a", "b"]));
  },
  ({ doc }: YjsMutator, random: Random): void => {
    const list = doc.getArray("list");
    if (list.length > 0 && random.chance(0.4)) list.delete(random.below(list.length));
    else list.insert(random.below(list.length + 1), [random.below(10)]);
  },
];

crdtSuite({ describe, it, type, operations, onThrow: "publish", runs: 100 });

describe("Yjs documents", () => {
  it("without a shape show all that they hold", () => {
    const all = yjsDoc();
    const [a, b] = createReplicas(all, 2);
    a?.mutate(({ doc }) => {
      doc.getText("body").insert(0, "Hello");
      doc.getMap("meta").set("n", 1);
    });
    syncAll([a, b].flatMap((replica) => replica ?? []));
    expect(b?.value()).toEqual({ body: "Hello", meta: { n: 1 } });
  });

  it("read as documents that Yjs syncs by itself", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const replicas = randomHistory({ type, operations, onThrow: "publish" }, new Random(seed), 40);
      syncAll(replicas);
      assertConvergent(replicas);
      const plain = new Y.Doc();
      for (const event of replicas[0]?.events.values() ?? []) {
        const reader = new Reader(event.delta);
        while (reader.left > 0) Y.applyUpdate(plain, reader.bytes());
      }
      for (const { state } of replicas) {
        expect(state.doc.getText("text").toDelta()).toEqual(plain.getText("text").toDelta());
        expect(state.doc.toJSON()).toEqual(expect.objectContaining({ list: plain.getArray("list").toJSON() }));
        expect(state.doc.getMap("map").toJSON()).toEqual(plain.getMap("map").toJSON());
      }
    }
  });

  it("publish what an editor writes outside mutate, and wake the shell", () => {
    const [a, b] = createReplicas(type, 2);
    if (a === undefined || b === undefined) return;
    let woken = 0;
    const stop = type.watch?.(a.state, () => woken++);
    a.state.doc.getText("text").insert(0, "typed");
    expect(woken).toBe(1);
    a.settle();
    stop?.();
    syncAll([a, b]);
    assertConvergent([a, b]);
    expect(b.value().text).toBe("typed");
  });

  it("publish what an editor wrote before a callback in an event before that of the callback", () => {
    const [a, b] = createReplicas(type, 2);
    if (a === undefined || b === undefined) throw new Error("unreachable");
    const text = type.view(a.state).doc.getText("text");
    text.insert(0, "1");
    a.mutate(() => text.insert(1, "2"));
    text.insert(2, "3");
    a.mutate(() => text.insert(3, "4"));
    for (const event of a.events.values()) b.receive(event);
    expect(b.value().text).toBe("1234");
  });

  it("publish what an observer writes while a remote update is applied", () => {
    const [a, b] = createReplicas(type, 2);
    if (a === undefined || b === undefined) return;
    const list = b.state.doc.getArray("list");
    let answered = false;
    list.observe(() => {
      if (answered) return;
      answered = true;
      list.delete(0);
      list.insert(0, ["answer"]);
    });
    a.mutate(({ doc }) => doc.getArray("list").insert(0, ["question"]));
    syncAll([a, b]);
    assertConvergent([a, b]);
    expect(a.value().list).toEqual(["answer"]);
  });

  it("publish what a callback did before it threw", () => {
    const [a, b] = createReplicas(type, 2);
    if (a === undefined || b === undefined) return;
    const change = ({ doc }: YjsMutator): void => {
      doc.getText("text").insert(0, "half");
      throw new Error("stop");
    };
    expect(() => a.mutate(change)).toThrow("stop");
    syncAll([a, b]);
    expect(b.value().text).toBe("half");
  });

  it("refuse updates that build on what is missing", () => {
    const [a, b, c] = createReplicas(type, 3);
    if (a === undefined || b === undefined || c === undefined) return;
    a.mutate(({ doc }) => doc.getText("text").insert(0, "one"));
    const second = a.mutate(({ doc }) => doc.getText("text").insert(3, "two"));
    if (second === undefined) return;
    expect(() => type.apply(b.state, second.delta, second)).toThrow(
      expect.objectContaining({ code: "MALFORMED" }) as Error,
    );
    expect(b.value().text).toBe("");
  });

  it("take a new client id at every load", () => {
    const ids = new Set(Array.from({ length: 20 }, () => type.decode(type.encode(type.create())).doc.clientID));
    expect(ids.size).toBe(20);
    expect(Math.max(...ids)).toBeGreaterThan(2 ** 32);
  });
});
