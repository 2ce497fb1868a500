import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { boundedCounter } from "./bounded-counter.ts";
import { dwFlag, ewFlag } from "./flag.ts";
import { gCounter } from "./g-counter.ts";
import { gSet } from "./g-set.ts";
import { jsonMap } from "./json-map.ts";
import { lwwMap } from "./lww-map.ts";
import { lwwRegister } from "./lww-register.ts";
import { mvRegister } from "./mv-register.ts";
import { orLog } from "./or-log.ts";
import { orMap } from "./or-map.ts";
import { orSet } from "./or-set.ts";
import { pnCounter } from "./pn-counter.ts";
import { rwSet } from "./rw-set.ts";
import { struct } from "./struct.ts";
import { createReplicas, syncAll } from "./testing/index.ts";
import { tree } from "./tree.ts";
import { twoPSet } from "./two-p-set.ts";
import type { CrdtType } from "./type.ts";

const ITEMS = 100;
const ACTOR_BYTES = 16;

/** Eight bytes of text, different for every index. */
const text = (index: number): string => `text${String(1000 + index)}`;

interface Cost {
  readonly delta: number;
  readonly state: number;
}

/** One actor makes an event for each item: the last delta, and what an item adds to the state. */
function ofItems<State, Mutator extends View, View>(
  type: CrdtType<State, unknown, Mutator, View>,
  change: (mutator: Mutator, index: number) => unknown,
): Cost {
  const [replica] = createReplicas(type, 1);
  if (replica === undefined) throw new Error("a replica was asked for");
  replica.mutate((mutator) => change(mutator, 0));
  const first = type.encode(replica.state).length;
  let delta = 0;
  for (let index = 1; index <= ITEMS; index++) {
    delta = replica.mutate((mutator) => change(mutator, index))?.delta.length ?? 0;
  }
  return { delta, state: (type.encode(replica.state).length - first) / ITEMS };
}

/** Each of 101 actors does the same at a time: a delta, and what an actor adds to the state beside its name. */
function ofActors<State, Mutator extends View, View>(
  type: CrdtType<State, unknown, Mutator, View>,
  change: (mutator: Mutator) => void,
): Cost {
  const replicas = createReplicas(type, ITEMS + 1);
  const events = replicas.map((replica) => replica.mutate(change));
  const [first] = replicas;
  if (first === undefined) throw new Error("replicas were asked for");
  const alone = type.encode(first.state).length;
  syncAll(replicas.slice(0, 1));
  for (const event of events) if (event !== undefined) first.receive(event);
  const state = (type.encode(first.state).length - alone) / ITEMS - ACTOR_BYTES;
  return { delta: events[0]?.delta.length ?? 0, state };
}

const card = struct({ title: lwwRegister<string>(), hits: gCounter });

const ROWS: readonly (readonly [type: string, change: string, each: string, cost: () => Cost])[] = [
  ["gCounter", "increment by 1", "actor", () => ofActors(gCounter, (counter) => counter.increment())],
  ["pnCounter", "increment by 1", "actor", () => ofActors(pnCounter, (counter) => counter.increment())],
  ["boundedCounter", "increment by 1", "actor", () => ofActors(boundedCounter, (counter) => counter.increment())],
  ["lwwRegister", "set", "concurrent write", () => ofActors(lwwRegister(), (register) => register.set(text(0)))],
  ["mvRegister", "set", "concurrent write", () => ofActors(mvRegister(), (register) => register.set(text(0)))],
  ["ewFlag", "enable", "concurrent write", () => ofActors(ewFlag, (flag) => flag.enable())],
  ["dwFlag", "enable", "concurrent write", () => ofActors(dwFlag, (flag) => flag.enable())],
  ["lwwMap", "set", "key", () => ofItems(lwwMap(), (map, index) => map.set(text(index), text(index)))],
  ["orMap(gCounter)", "increment", "key", () => ofItems(orMap(gCounter), (map, at) => map.at(text(at)).increment())],
  [
    "orMap(struct)",
    "set a field `title`",
    "key",
    () => ofItems(orMap(card), (map, at) => map.at(text(at)).title.set(text(at))),
  ],
  ["jsonMap", "set", "key", () => ofItems(jsonMap, (map, index) => map.set([text(index)], text(index)))],
  ["orSet", "add", "element", () => ofItems(orSet(), (elements, index) => elements.add(text(index)))],
  ["gSet", "add", "element", () => ofItems(gSet(), (elements, index) => elements.add(text(index)))],
  ["rwSet", "add", "element, or removed one", () => ofItems(rwSet(), (elements, index) => elements.add(text(index)))],
  ["twoPSet", "add", "element, or removed one", () => ofItems(twoPSet(), (elements, at) => elements.add(text(at)))],
  ["orLog", "append", "entry", () => ofItems(orLog(), (log, index) => log.append(text(index)))],
  ["tree", "create at the top", "node", () => ofItems(tree(), (nodes, at) => nodes.create(text(at), text(at)))],
];

function row(type: string, change: string, each: string, { delta, state }: Cost): string {
  return `| \`${type}\` | ${change} | ${delta} | ${Math.round(state)} for each ${each} |`;
}

it("docs/types.md tells what the types cost, as measured", () => {
  const document = readFileSync(new URL("../../../docs/types.md", import.meta.url), "utf8");
  const measured = ROWS.map(([type, change, each, cost]) => row(type, change, each, cost()));
  const written = document.split("\n").filter((line) => /^\| `.+` \| .+ \| \d+ \| \d+ for each /.test(line));
  expect(written).toEqual(measured);
});
