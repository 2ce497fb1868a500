/** The wire formats of what holds documents: the framing is ours, what stands in it is the libraries'. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { automergeDoc } from "./automerge.ts";
import { type Golden, expectGolden, toHex } from "./golden.test-support.ts";
import { jsonMap } from "./json-map.ts";
import { type TestEvent, type TestReplica, assertConvergent, createReplicas, syncAll } from "./testing/index.ts";
import type { CrdtType } from "./type.ts";
import { yjsDoc } from "./yjs.ts";

const page = yjsDoc({ text: "text", map: "map", list: "array" });
const tasks = automergeDoc<{ title?: string; list?: number[]; done?: boolean }>();

function pair<State, Value, Mutator extends View, View>(
  type: CrdtType<State, Value, Mutator, View>,
): [a: TestReplica<State, Value, Mutator, View>, b: TestReplica<State, Value, Mutator, View>] {
  const [a, b] = createReplicas(type, 2);
  if (a === undefined || b === undefined) throw new Error("two replicas were asked for");
  return [a, b];
}

function golden(events: readonly (TestEvent | undefined)[], state: Uint8Array, canonical: string): Golden {
  const deltas = events.map((event, index) => [`delta ${index}`, toHex(event?.delta ?? new Uint8Array())]);
  return { ...Object.fromEntries(deltas), state: toHex(state), canonical };
}

/** What this version of the code makes of bytes that an earlier one stored: of the deltas, and of the state. */
function stored<State, Value, Mutator extends View, View>(
  type: CrdtType<State, Value, Mutator, View>,
  name: string,
  events: readonly (TestEvent | undefined)[],
): { fromDeltas: TestReplica<State, Value, Mutator, View>; fromState: State; canonical: string } {
  const file = JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), "utf8")) as Golden;
  const bytes = (item: string): Uint8Array => Uint8Array.from(Buffer.from(file[item] ?? "", "hex"));
  const [fromDeltas] = pair(type);
  events.forEach((event, index) => {
    if (event !== undefined) fromDeltas.receive({ ...event, delta: bytes(`delta ${index}`) });
  });
  return { fromDeltas, fromState: type.decode(bytes("state")), canonical: file["canonical"] ?? "" };
}

describe("the wire format", () => {
  it("of a Yjs document is that of the golden file, and what it holds can be read", () => {
    const [a, b] = pair(page);
    a.state.doc.clientID = 7;
    b.state.doc.clientID = 2 ** 40 + 9;
    const events = [
      a.mutate(({ doc }) => doc.getText("text").insert(0, "hello")),
      // Two transactions in one event.
      a.mutate(({ doc }) => {
        doc.getMap("map").set("k", 1);
        doc.getArray("list").push(["x", true]);
      }),
    ];
    syncAll([a, b]);
    events.push(
      b.mutate(({ doc }) => doc.getText("text").delete(1, 3)),
      a.mutate(({ doc }) => doc.getText("text").format(0, 5, { bold: true })),
      b.mutate(({ doc }) => doc.getMap("map").delete("k")),
    );
    syncAll([a, b]);
    assertConvergent([a, b]);
    expectGolden("yjs", golden(events, page.encode(a.state), a.canonical()));
    const { fromDeltas, fromState, canonical } = stored(page, "yjs", events);
    const value = { text: "ho", map: {}, list: ["x", true] };
    expect(fromDeltas.value()).toEqual(value);
    expect(fromDeltas.canonical()).toBe(canonical);
    expect(page.value(fromState)).toEqual(value);
  });

  it("of an Automerge document is that of the golden file, and what it holds can be read", () => {
    // Each change holds a time: that of its event, or these bytes would not be the same again.
    const [a, b] = pair(tasks);
    const events = [
      // Two changes in one event.
      a.mutate((mutator) => {
        mutator.change((doc) => {
          doc.title = "dig";
        });
        mutator.change((doc) => {
          doc.list = [1, 2];
        });
      }),
    ];
    syncAll([a, b]);
    events.push(
      a.mutate((mutator) => mutator.change((doc) => doc.list?.push(3))),
      b.mutate((mutator) => mutator.change((doc) => doc.list?.splice(0, 1))),
      b.mutate((mutator) =>
        mutator.change((doc) => {
          delete doc.title;
          doc.done = true;
        }),
      ),
    );
    syncAll([a, b]);
    assertConvergent([a, b]);
    expectGolden("automerge", golden(events, tasks.encode(a.state), a.canonical()));
    const { fromDeltas, fromState, canonical } = stored(tasks, "automerge", events);
    const value = { list: [2, 3], done: true };
    expect(fromDeltas.value()).toEqual(value);
    expect(fromDeltas.canonical()).toBe(canonical);
    expect(tasks.value(fromState)).toEqual(value);
  });

  it("of a jsonMap is that of the golden file, and what it holds can be read", () => {
    const [a, b] = pair(jsonMap);
    const events = [a.mutate((map) => map.fromJSON({ user: { name: "n", tags: ["x", 1] }, on: true, none: null }))];
    syncAll([a, b]);
    events.push(
      a.mutate((map) => map.set(["user", "name"], "m")),
      b.mutate((map) => map.delete(["on"])),
      b.mutate((map) => map.set(["user", "age"], 300)),
    );
    syncAll([a, b]);
    assertConvergent([a, b]);
    expectGolden("json-map", golden(events, jsonMap.encode(a.state), a.canonical()));
    const { fromDeltas, fromState, canonical } = stored(jsonMap, "json-map", events);
    const value = { user: { name: "m", tags: ["x", 1], age: 300 }, none: null };
    expect(fromDeltas.value()).toEqual(value);
    expect(fromDeltas.canonical()).toBe(canonical);
    expect(jsonMap.value(fromState)).toEqual(value);
  });
});
