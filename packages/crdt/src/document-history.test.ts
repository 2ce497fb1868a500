/** Undo, redo and history of documents, through the libraries' own functions on the live document. */
import * as A from "@automerge/automerge";
import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { type AutomergeMutator, automergeDoc } from "./automerge.ts";
import { type TestReplica, assertConvergent, createReplicas, syncAll } from "./testing/index.ts";
import type { CrdtType } from "./type.ts";
import { yjsDoc } from "./yjs.ts";

function three<State, Value, Mutator extends View, View>(
  type: CrdtType<State, Value, Mutator, View>,
): [
  a: TestReplica<State, Value, Mutator, View>,
  b: TestReplica<State, Value, Mutator, View>,
  late: TestReplica<State, Value, Mutator, View>,
] {
  const [a, b, late] = createReplicas(type, 3);
  if (a === undefined || b === undefined || late === undefined) throw new Error("three replicas were asked for");
  return [a, b, late];
}

describe("Y.UndoManager on the live document", () => {
  const page = yjsDoc({ text: "text", map: "map" });

  it("takes back what this replica did and keeps what others did, and redoes it", () => {
    const [a, b] = three(page);
    const undo = new Y.UndoManager(a.state.doc.getText("text"), { captureTimeout: 0 });
    a.mutate(({ doc }) => doc.getText("text").insert(0, "one "));
    a.mutate(({ doc }) => doc.getText("text").insert(4, "two "));
    syncAll([a, b]);
    b.mutate(({ doc }) => doc.getText("text").insert(8, "theirs"));
    b.mutate(({ doc }) => doc.getText("text").delete(0, 4));
    syncAll([a, b]);
    const shown = (): string[] => {
      syncAll([a, b]);
      assertConvergent([a, b]);
      return [a.value().text, b.value().text];
    };
    expect(a.mutate(() => undo.undo())).toBeDefined();
    expect(shown()).toEqual(["theirs", "theirs"]);
    expect(a.mutate(() => undo.redo())).toBeDefined();
    expect(shown()).toEqual(["two theirs", "two theirs"]);
    undo.destroy();
  });

  it("wakes the shell when it is called outside mutate, as an editor does", () => {
    const [a, b] = three(page);
    const map = a.state.doc.getMap("map");
    const undo = new Y.UndoManager(map, { captureTimeout: 0 });
    let woken = 0;
    const stop = page.watch?.(a.state, () => {
      woken++;
      a.settle();
    });
    map.set("k", "first");
    map.set("k", "second");
    undo.undo();
    expect(woken).toBe(3);
    syncAll([a, b]);
    assertConvergent([a, b]);
    expect(b.value().map).toEqual({ k: "first" });
    undo.redo();
    syncAll([a, b]);
    expect(b.value().map).toEqual({ k: "second" });
    stop?.();
    undo.destroy();
  });

  it("undoes a deletion that came to others as a whole state", () => {
    const [a, b, late] = three(page);
    const undo = new Y.UndoManager(a.state.doc.getText("text"), { captureTimeout: 0 });
    a.mutate(({ doc }) => doc.getText("text").insert(0, "kept"));
    a.mutate(({ doc }) => doc.getText("text").delete(0, 4));
    late.joinFrom(a);
    expect(late.value().text).toBe("");
    a.mutate(() => undo.undo());
    syncAll([a, b, late]);
    assertConvergent([a, b, late]);
    expect(late.value().text).toBe("kept");
    undo.destroy();
  });
});

describe("Automerge's history", () => {
  const notes = automergeDoc<{ title?: string; list?: number[] }>();
  type Mutator = AutomergeMutator<{ title?: string; list?: number[] }>;
  const title = (mutator: Mutator, text: string): void => {
    mutator.change((doc) => {
      doc.title = text;
    });
  };

  it("is the same on all replicas, after a restart and from a whole state", () => {
    const [a, b, late] = three(notes);
    a.mutate((mutator) => title(mutator, "draft"));
    syncAll([a, b]);
    a.mutate((mutator) => title(mutator, "mine"));
    b.mutate((mutator) => mutator.change((doc) => Object.assign(doc, { list: [1] })));
    syncAll([a, b]);
    a.reload();
    late.joinFrom(b);
    assertConvergent([a, b, late]);
    const histories = [a, b, late].map(({ state }) =>
      A.getHistory(state.doc)
        .map(({ change }) => `${change.actor} ${change.seq} ${change.hash}`)
        .sort(),
    );
    expect(histories[0]).toHaveLength(3);
    expect(histories[1]).toEqual(histories[0]);
    expect(histories[2]).toEqual(histories[0]);
  });

  it("shows an earlier state and what changed since, and an earlier value can be written again", () => {
    const [a, b] = three(notes);
    a.mutate((mutator) => title(mutator, "draft"));
    syncAll([a, b]);
    const heads = A.getHeads(b.state.doc);
    a.mutate((mutator) => title(mutator, "final"));
    syncAll([a, b]);
    const { doc } = notes.view(b.state);
    const earlier = A.view(doc, heads);
    expect(earlier.title).toBe("draft");
    expect(A.diff(doc, heads, A.getHeads(doc)).map(({ path }) => path[0])).toContain("title");
    b.mutate((mutator) => title(mutator, earlier.title ?? ""));
    syncAll([a, b]);
    assertConvergent([a, b]);
    expect(a.value()).toEqual({ title: "draft" });
    expect(A.getHistory(a.state.doc)).toHaveLength(3);
  });
});
