import { createNode } from "coppice";
import type { GroupId } from "coppice";
import { levelStorage } from "coppice/level";
import { libp2pTransport } from "coppice/libp2p";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  type NodeProcess,
  type ReplicaState,
  type StartOptions,
  type TypeName,
  startNode,
} from "./support/node-process.ts";
import { temporaryDirectory } from "./support/temporary.ts";

const MAP: GroupId = ["cluster", "map"];
const BOOK: GroupId = ["cluster", "book"];
/** So long that whatever arrives was passed on by gossip, or compared when a link came up. */
const NEVER_MS = 2 ** 31 - 1;

interface Member {
  readonly data: string;
  readonly id: string;
  /** Where the others find it; known after its first start. */
  address: string | undefined;
}

/** A directory with an identity, so that others can admit the node before it runs. */
async function member(folder: string, name: string): Promise<Member> {
  const data = join(folder, name);
  const node = await createNode({ types: [], storage: levelStorage(data), transport: libp2pTransport() });
  await node.close();
  return { data, id: node.id, address: undefined };
}

async function members(count: number): Promise<Member[]> {
  const folder = temporaryDirectory("cluster");
  return await Promise.all(Array.from({ length: count }, (_, index) => member(folder, String(index))));
}

/** Starts a member that dials and admits its neighbours and nobody else; at its old address when it has one. */
async function start(
  self: Member,
  neighbours: readonly Member[],
  options: Partial<StartOptions> = {},
): Promise<NodeProcess> {
  const node = await startNode({
    data: self.data,
    listen: [self.address?.replace(/\/p2p\/.*/, "") ?? "/ip4/127.0.0.1/tcp/0"],
    peers: neighbours.flatMap(({ address }) => address ?? []),
    allow: neighbours.map(({ id }) => id),
    types: ["map", "book", "counter"],
    syncIntervalMs: NEVER_MS,
    ...options,
  });
  expect(node.id).toBe(self.id);
  self.address = node.address;
  return node;
}

function others(all: readonly Member[], index: number): Member[] {
  return all.filter((_, other) => other !== index);
}

function beside(line: readonly Member[], index: number): Member[] {
  return line.filter((_, other) => Math.abs(other - index) === 1);
}

async function startAll(
  all: readonly Member[],
  neighboursOf: (all: readonly Member[], index: number) => Member[],
): Promise<NodeProcess[]> {
  const nodes: NodeProcess[] = [];
  for (const [index, self] of all.entries()) nodes.push(await start(self, neighboursOf(all, index)));
  for (const [index, node] of nodes.entries()) {
    const expected = neighboursOf(all, index).map(({ id }) => id);
    await expect.poll(async () => await linked(node), { timeout: 15_000 }).toEqual(expected.toSorted());
  }
  return nodes;
}

async function linked(node: NodeProcess): Promise<string[]> {
  return (await node.peers()).map(({ id }) => id).toSorted();
}

/** Waits until all nodes have the same content; returns it. */
async function converged(nodes: readonly NodeProcess[], id: GroupId, type: TypeName): Promise<ReplicaState> {
  const digests = async (): Promise<number> => {
    const states = await Promise.all(nodes.map((node) => node.state(id, type)));
    return new Set(states.map(({ digest }) => digest)).size;
  };
  await expect.poll(digests, { timeout: 20_000, interval: 50 }).toBe(1);
  const [first, ...rest] = await Promise.all(nodes.map((node) => node.state(id, type)));
  if (first === undefined) throw new TypeError("no nodes");
  for (const state of rest) expect(state).toEqual(first);
  return first;
}

/** Waits until a key is there. */
async function arrives(node: NodeProcess, key: string): Promise<void> {
  await expect.poll(() => node.value(MAP, "map"), { timeout: 10_000, interval: 20 }).toHaveProperty(key);
}

function set(node: NodeProcess, key: string, ack?: unknown): Promise<string> {
  return node.mutate(MAP, "map", [["set", key, node.id]], ack);
}

function add(node: NodeProcess, key: string): Promise<string> {
  return node.mutate(BOOK, "book", [
    ["entries.set", key, node.id],
    ["count.increment", 1],
  ]);
}

describe("three nodes in a mesh", () => {
  test("converge under writes on every node, and again after one was killed and has restarted", async () => {
    const all = await members(3);
    const nodes = await startAll(all, others);
    const [a, b, c] = nodes as [NodeProcess, NodeProcess, NodeProcess];
    await Promise.all(nodes.flatMap((node, index) => Array.from({ length: 20 }, (_, n) => add(node, `${index}-${n}`))));
    await converged(nodes, BOOK, "book");
    expect(await c.value(BOOK, "book")).toMatchObject({ count: 60 });

    // What a node has acknowledged before it is killed is there afterwards; its last writes may have reached nobody.
    await add(b, "acknowledged");
    const unacknowledged = Array.from({ length: 20 }, (_, n) => add(b, `perhaps-${n}`).catch(() => "killed"));
    await b.kill();
    await Promise.all(unacknowledged);
    await Promise.all([add(a, "meanwhile-a"), add(c, "meanwhile-c")]);

    const again = await start(all[1] as Member, others(all, 1));
    const report = await again.recover();
    expect(report).toMatchObject({ recovered: 1, degraded: [], failed: [] });
    await Promise.all([add(a, "after-a"), add(again, "after-b"), add(c, "after-c")]);
    await converged([a, again, c], BOOK, "book");
    const value = (await c.value(BOOK, "book")) as { entries: Record<string, string>; count: number };
    expect(value.entries).toMatchObject({ acknowledged: b.id, "meanwhile-a": a.id, "after-b": b.id, "after-c": c.id });
    expect(value.count).toBe(Object.keys(value.entries).length);
    // Nobody else had to restart: the links came back by themselves.
    expect(await linked(a)).toEqual([b.id, c.id].toSorted());
  });

  test("bring up a node that starts empty, and one that was down while a megabyte was written", async () => {
    const all = await members(3);
    const [a, b] = [await start(all[0] as Member, others(all, 0)), await start(all[1] as Member, others(all, 1))];
    await Promise.all([
      a.fill(MAP, { prefix: "a", count: 1_500, bytes: 1_000 }),
      b.fill(MAP, { prefix: "b", count: 1_500, bytes: 1_000 }),
      add(a, "small"),
    ]);
    await converged([a, b], MAP, "map");

    const c = await start(all[2] as Member, others(all, 2));
    // It finds the groups without opening them.
    await expect.poll(async () => (await c.groups()).map(({ key }) => key).length, { timeout: 20_000 }).toBe(2);
    await c.synced(MAP, "map");
    await converged([a, b, c], MAP, "map");
    await converged([a, b, c], BOOK, "book");
    expect(Object.keys((await c.value(MAP, "map")) as object)).toHaveLength(3_000);

    await c.stop();
    await Promise.all([
      a.fill(MAP, { prefix: "later", count: 1_100, bytes: 1_000 }),
      // Over keys that are there already, and in a group that the stopped node has never seen.
      b.fill(MAP, { prefix: "a", count: 100, bytes: 10 }),
      b.mutate(["cluster", "new"], "counter", [["increment", 7]]),
    ]);
    const again = await start(all[2] as Member, others(all, 2));
    await converged([a, b, again], MAP, "map");
    await expect.poll(() => again.value(["cluster", "new"], "counter"), { timeout: 10_000 }).toBe(7);
    expect(Object.keys((await again.value(MAP, "map")) as object)).toHaveLength(4_100);
  });

  test("acknowledge a write once as many peers as asked for have it, on their disks if asked", async () => {
    const all = await members(3);
    const [a, b, c] = (await startAll(all, others)) as [NodeProcess, NodeProcess, NodeProcess];
    await set(a, "applied", { replicas: 2 });
    for (const node of [b, c]) expect(await node.value(MAP, "map")).toHaveProperty("applied");
    await set(a, "durable", { replicas: 2, durable: true });
    await Promise.all([b.kill(), c.kill()]);
    for (const index of [1, 2]) {
      const alone = await start(all[index] as Member, []);
      await alone.recover();
      expect(await alone.value(MAP, "map")).toHaveProperty("durable");
      await alone.stop();
    }
  });
});

describe("three nodes read what was written", () => {
  const COUNTER: GroupId = ["cluster", "counter"];

  test("by a session on whichever node, and by majorities, also when one of them is killed", async () => {
    const all = await members(3);
    const rosters = { cluster: all.map(({ id }) => id) };
    const nodes: NodeProcess[] = [];
    for (const [index, self] of all.entries()) nodes.push(await start(self, others(all, index), { rosters }));
    const increment = (node: NodeProcess | undefined, ack?: unknown): Promise<string> | undefined =>
      node?.mutate(COUNTER, "counter", [["increment", 1]], ack);
    for (const node of nodes) await node.open(COUNTER, "counter");
    await expect.poll(async () => (await linked(nodes[0] as NodeProcess)).length, { timeout: 15_000 }).toBe(2);
    let token: string | undefined;
    for (let turn = 1; turn <= 30; turn++) {
      // The write is on its way to the reader, who asks for it if it is faster.
      token = await increment(nodes[turn % 3]);
      const read = await nodes[(turn + 1) % 3]?.read(COUNTER, "counter", { token: token ?? "" });
      expect(read).toMatchObject({ value: turn });
    }
    await nodes[2]?.kill();
    for (let turn = 31; turn <= 40; turn++) {
      await increment(nodes[turn % 2], { replicas: "majority" });
      expect(await nodes[(turn + 1) % 2]?.read(COUNTER, "counter", { from: "majority" })).toMatchObject({
        value: turn,
      });
    }
    await expect(nodes[0]?.read(COUNTER, "counter", { from: 2 })).rejects.toMatchObject({ code: "TIMEOUT" });
    const again = await start(all[2] as Member, others(all, 2), { rosters });
    expect(await again.read(COUNTER, "counter", { from: "majority" })).toMatchObject({ value: 40 });
  });
});

describe("five nodes in a line", () => {
  test("carry events from one end to the other, and heal around a node that was killed", async () => {
    const line = await members(5);
    const nodes = await startAll(line, beside);
    const [first, , middle, , last] = nodes as [NodeProcess, NodeProcess, NodeProcess, NodeProcess, NodeProcess];
    await Promise.all(nodes.map((node, index) => set(node, `from-${index}`)));
    await converged(nodes, MAP, "map");
    for (let round = 0; round < 5; round++) {
      await Promise.all([set(first, `right-${round}`), set(last, `left-${round}`)]);
      await Promise.all([arrives(last, `right-${round}`), arrives(first, `left-${round}`)]);
    }

    await middle.kill();
    await Promise.all([set(first, "cut-left"), set(last, "cut-right"), add(first, "cut")]);
    const again = await start(line[2] as Member, beside(line, 2));
    const healed = nodes.with(2, again);
    // What is learnt by comparison goes on to the next neighbour at once.
    await converged(healed, MAP, "map");
    await converged(healed, BOOK, "book");
    expect(await last.value(MAP, "map")).toHaveProperty("cut-left");
    expect(await first.value(MAP, "map")).toHaveProperty("cut-right");
    await Promise.all([set(first, "again-right"), set(last, "again-left")]);
    await Promise.all([arrives(last, "again-right"), arrives(first, "again-left")]);
    await converged(healed, MAP, "map");
  });
});
