// Events that nobody could have written by means of a type: taken so that every replica can read its group again, or
// refused whole. Each was found by the fuzzer.
import * as Automerge from "@automerge/automerge";
import { type Actor, type AnyCrdtType, Writer, gCounter, hybridTime, lwwRegister, orMap, tree } from "@coppice/crdt";
import { automergeDoc } from "@coppice/crdt/automerge";
import { createReplicas } from "@coppice/crdt/testing";
import { type Node, createMemoryNetwork, createNode } from "@coppice/replication";
import { encodeGroupId, memoryStorage } from "@coppice/storage";
import { expect, onTestFinished, test } from "vitest";
import { Stranger, eventMessage } from "../support/stranger.ts";

const ID = "g";
const TIME = hybridTime(Date.UTC(2026, 0, 1));

/** Bytes as the fuzzer found them. */
function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/** Two nodes that have a group of a type open, and a stranger linked to the first. */
class Visited {
  readonly #network = createMemoryNetwork({ redialMs: [20, 100] });
  readonly #storage = memoryStorage();
  readonly #type: AnyCrdtType;
  readonly notices: string[] = [];
  readonly stranger = new Stranger(this.#network);

  constructor(type: AnyCrdtType) {
    this.#type = type;
  }

  async start(name: string, peers: readonly string[]): Promise<Node> {
    const node = await createNode({
      types: [this.#type],
      storage: name === "a" ? this.#storage : memoryStorage(),
      transport: this.#network.transport(name),
      syncIntervalMs: 200,
      heartbeatMs: 100,
      onNotice: ({ code }) => void this.notices.push(code),
    });
    onTestFinished(() => node.close());
    for (const peer of peers) await node.connect(`memory:/${peer}`);
    return node;
  }

  /** The stranger's first event, with this delta. */
  say(delta: Uint8Array): void {
    const group = { key: encodeGroupId(ID), type: this.#type.name, epoch: 1 };
    this.stranger.say(eventMessage(group, { actor: this.stranger.actor, seq: 1, time: TIME, delta }));
  }
}

const words = orMap(gCounter);

/** The removal of a key whose counter one actor has incremented: so often, and by so much in all, as it claims. */
function removal(key: string, actor: Actor, events: number, total: number): Uint8Array {
  const delta = new Writer();
  delta.byte(0x02);
  delta.string(key);
  // No dots; of one kind of children, the counters, one row.
  for (const item of [0, 1, 0x13, 1]) delta.byte(item);
  // The first actor that is named, and its run from its first event on.
  delta.uint(1);
  delta.actor(actor);
  for (const item of [1, events - 1, total]) delta.uint(item);
  return delta.take();
}

test.each([
  ["a larger amount", 1, 500],
  ["more events", 99, 1],
])("a removal that cancels %s than was counted leaves a group that can be read again", async (_, events, total) => {
  const visited = new Visited(words);
  const [a, b] = [await visited.start("a", []), await visited.start("b", ["a"])];
  const here = await a.open(ID, words);
  const there = await b.open(ID, words);
  here.mutate((map) => map.at("k").increment(1));
  const [actor = visited.stranger.actor] = Object.keys(here.status.vector) as Actor[];
  await visited.stranger.link("a");
  visited.say(removal("k", actor, events, total));
  await expect.poll(() => b.group(ID)?.events, { timeout: 5000 }).toBe(2);
  await a.close();
  const again = await (await visited.start("a", ["b"])).open(ID, words);
  expect(again.value()).toEqual(there.value());
  expect(again.contentHash()).toBe(there.contentHash());
  // Neither does a replica that comes late choke on it.
  const late = await (await visited.start("c", ["a"])).open(ID, words);
  await late.synced();
  expect(late.contentHash()).toBe(there.contentHash());
});

test("a tree node with the id of the top does not stand under itself, and the value has an end", async () => {
  const type = tree<number>();
  const visited = new Visited(type);
  const [a, b] = [await visited.start("a", []), await visited.start("b", ["a"])];
  await a.open(ID, type);
  const there = await b.open(ID, type);
  await visited.stranger.link("a");
  visited.say(bytes("11001211016112017601034600120170010a030170010340"));
  await expect.poll(() => b.group(ID)?.events, { timeout: 5000 }).toBe(1);
  expect(JSON.stringify(there.value()).length).toBeLessThan(1000);
});

test("a value has one encoding: another form of NaN ends its link, for replicas would differ in their bytes", async () => {
  const type = lwwRegister<number>();
  const [replica] = createReplicas(type, 1);
  const delta = replica?.mutate((register) => register.set(Number.NaN))?.delta.slice() ?? new Uint8Array();
  const at = Buffer.from(delta).indexOf(bytes("000000000000f87f"));
  expect(at).toBeGreaterThan(0);
  const visited = new Visited(type);
  const a = await visited.start("a", []);
  const register = await a.open(ID, type);
  await visited.stranger.link("a");
  visited.say(delta.with(at, 1));
  await expect.poll(() => visited.notices, { timeout: 5000 }).toContain("MALFORMED_FRAME");
  expect(a.group(ID)?.events).toBe(0);
  // Said until its link stands again.
  const sayAgain = (): number | undefined => {
    visited.say(delta);
    return register.value();
  };
  await expect.poll(sayAgain, { timeout: 5000 }).toBe(Number.NaN);
});

/** A change of Automerge, and one that would follow it, as somebody forged it. */
const FORGED: Readonly<Record<string, (good: Automerge.DecodedChange) => object>> = {
  "sets something in an object that is not there": ({ ops }) => ({
    ops: ops.map((op) => ({ ...op, obj: "9@0123456789abcdef" })),
  }),
  "gives its operations numbers that are taken": ({ hash }) => ({ deps: [hash], startOp: 1 }),
  "comes after changes of its actor that are missing": () => ({ seq: 3 }),
};

test.each(Object.entries(FORGED))("an event of Automerge that %s leaves nothing in the document", async (_, forge) => {
  const document = Automerge.from({ key: 1 }, { actor: "0123456789abcdef" });
  const [good = new Uint8Array()] = Automerge.getAllChanges(document);
  const { hash, ...change } = Automerge.decodeChange(good);
  const forged = { ...change, actor: "fedcba9876543210", ...forge({ ...change, hash }) };
  const delta = new Writer();
  for (const bytesOf of [good, Automerge.encodeChange(forged as Automerge.DecodedChange)]) delta.bytes(bytesOf);
  await expectRefused(delta.take());
});

test("an event of Automerge in a form that Automerge would not write leaves nothing in the document", async () => {
  await expectRefused(
    bytes(
      "3e856f4a8360e07cc701340010020202020202020202020202023f02020101c18585ad060000061503340142025602570270027f01" +
        "61017f017f22e5037f00",
    ),
  );
});

/** The link ends, the node goes on, and its group can be read again. */
async function expectRefused(delta: Uint8Array): Promise<void> {
  const type = automergeDoc<Record<string, unknown>>();
  const visited = new Visited(type);
  const a = await visited.start("a", []);
  const replica = await a.open(ID, type);
  const before = replica.contentHash();
  await visited.stranger.link("a");
  visited.say(delta);
  await expect.poll(() => visited.notices, { timeout: 5000 }).toContain("MALFORMED_FRAME");
  expect(replica.contentHash()).toBe(before);
  await visited.stranger.leave();
  replica.mutate((mutator) => mutator.change((doc) => void (doc["own"] = 1)));
  await a.close();
  const again = await (await visited.start("a", [])).open(ID, type);
  expect(again.value()).toEqual({ own: 1 });
}
