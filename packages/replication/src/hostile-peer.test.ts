import { type Actor, SEQ_MAX, VersionVector, actorFromBytes, gCounter, hybridTime, lwwMap, orMap } from "@coppice/crdt";
import { encodeGroupId } from "@coppice/storage";
import { describe, expect, it } from "vitest";
import { groupHash } from "./core/digest.ts";
import { GroupTransaction } from "./core/group-transaction.ts";
import type { Message } from "./core/messages.ts";
import type { Run } from "./core/run.ts";
import { RunBuilder } from "./core/run-builder.ts";
import type { Node } from "./node.ts";
import { Ghost, Grove, gossip, increments, notes } from "./nodes.test-support.ts";

const STRANGER: Actor = actorFromBytes(new Uint8Array(16).fill(0xee));
const NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"];
const group = { key: encodeGroupId("c"), type: gCounter.name, epoch: 1 };

interface Haunted {
  readonly node: Node;
  readonly ghost: Ghost;
  /** Peers whose links have ended; a ghost dials again. */
  readonly left: string[];
}

/** A node, and a ghost linked to it. */
async function haunted(grove: Grove, options: Parameters<Grove["start"]>[2] = {}): Promise<Haunted> {
  const node = await grove.start("a", [], options);
  const left: string[] = [];
  node.onPeer((event, peer) => {
    if (event === "leave") left.push(peer);
  });
  const ghost = new Ghost(grove, "ghost");
  await ghost.haunt("a");
  await expect.poll(() => node.peers().length).toBe(1);
  return { node, ghost, left };
}

function codes(grove: Grove): string[] {
  return grove.notices.map(({ code }) => code);
}

/** A write of a map at a time of the writer's choosing. */
function writeAt(actor: Actor, time: number, key: string, value: string): Run {
  const builder = new RunBuilder();
  const transaction = new GroupTransaction(builder);
  transaction.time = time;
  transaction.start(actor, 1, undefined);
  notes.mutator(notes.create(), transaction).set(key, value);
  transaction.commit();
  builder.add(transaction, []);
  return builder.take();
}

function gossipNotes(id: string, run: Run): Message {
  const ref = { key: encodeGroupId(id), type: notes.name, epoch: 1 };
  return { kind: "events", group: ref, repaired: false, wants: "nothing", run: run.bytes };
}

describe("what a peer must not bring about", () => {
  it("a frame of which a part cannot be read changes nothing and ends the link", async () => {
    await using grove = new Grove();
    const { node, ghost, left } = await haunted(grove);
    const counter = await node.open("c", gCounter);
    const run = increments(STRANGER, 1, 3);
    // Beyond its page: no peer of ours lists so.
    ghost.say(gossip("c", run), { kind: "list", domain: "", from: 5, to: 9, entries: [{ hash: 10, digest: [1, 1] }] });
    await expect.poll(() => codes(grove)).toContain("MALFORMED_FRAME");
    expect(counter.value()).toBe(0);
    await expect.poll(() => left).toContain("ghost");
  });

  it("messages said ten times count once", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const counter = await node.open("c", gCounter);
    const run = increments(STRANGER, 1, 5);
    for (let times = 10; times > 0; times--) ghost.say(gossip("c", run), gossip("c", increments(STRANGER, 3, 2)));
    await expect.poll(() => counter.value()).toBe(5);
    expect(node.group("c")?.events).toBe(5);
  });

  it("events that wait and cannot be applied are dropped, and no other peer is blamed for them", async () => {
    await using grove = new Grove();
    const { node, ghost, left } = await haunted(grove);
    const other = await grove.start("b", ["a"]);
    const [here, there] = [await node.open("c", gCounter), await other.open("c", gCounter)];
    await there.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    const [actor = STRANGER] = Object.keys(here.status.vector) as Actor[];
    const waiting = increments(STRANGER, 1, 1, [{ actor, seq: 2 }]);
    const broken = waiting.bytes.slice().fill(0xff, waiting.deltasAt);
    ghost.say({ kind: "events", group, repaired: false, wants: "nothing", run: broken });
    await expect.poll(() => here.status.pendingEvents).toBe(1);
    for (let count = 2; count < 5; count++) {
      there.mutate((c) => c.increment(1));
      await expect.poll(() => here.value()).toBe(count);
    }
    expect(left).toEqual([]);
    expect(here.status.pendingEvents).toBe(0);
    expect(codes(grove)).toContain("MALFORMED_FRAME");
  });

  it("a vector that claims too much suppresses nothing", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const other = await grove.start("b", ["a"]);
    const counter = await other.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await expect.poll(() => node.group("c")?.events).toBe(1);
    const [actor] = Object.keys(node.group("c")?.vector ?? {}) as Actor[];
    for (const intent of ["tell", "answer", "ask"] as const) {
      ghost.say({ kind: "vector", group, intent, vector: new VersionVector([[actor ?? STRANGER, 1_000_000]]) });
    }
    for (let left = 9; left > 0; left--) counter.mutate((c) => c.increment(1));
    const here = await node.open("c", gCounter);
    await expect.poll(() => here.value()).toBe(10);
  });

  it("events under another node's actor: that node takes a new one, says so, and its later writes are everywhere", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const other = await grove.start("b", ["a"]);
    const counter = await other.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await expect.poll(() => node.group("c")?.events).toBe(1);
    const [actor = STRANGER] = Object.keys(node.group("c")?.vector ?? {}) as Actor[];
    // The stranger's own increments would be accepted as well: who may write in a group is not what this defends.
    ghost.say(gossip("c", increments(actor, 2, 5)));
    await expect.poll(() => codes(grove)).toContain("INCARNATION_REUSED");
    counter.mutate((c) => c.increment(100));
    await grove.converged();
    expect((await node.open("c", gCounter)).value()).toBe(106);
    expect(counter.value()).toBe(106);
  });

  it("a run of one group replayed in another: the writer's own events there are still taken", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const other = await grove.start("b", ["a"]);
    const [first, second] = [await other.open("c", gCounter), await other.open("d", gCounter)];
    first.mutate((c) => c.increment(1));
    await expect.poll(() => node.group("c")?.events).toBe(1);
    const [actor = STRANGER] = Object.keys(node.group("c")?.vector ?? {}) as Actor[];
    ghost.say(gossip("d", increments(actor, 1, 1)));
    // Whoever has seen it goes on behind it.
    await expect.poll(() => other.group("d")?.events).toBe(1);
    second.mutate((c) => c.increment(50));
    await grove.converged();
    expect((await node.open("d", gCounter)).value()).toBe(51);
  });

  it("a state that claims events of others which it does not hold: the claimed one is told, and its later writes appear", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const other = await grove.start("b", ["a"]);
    const counter = await other.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    await expect.poll(() => node.group("c")?.events).toBe(1);
    const [actor = STRANGER] = Object.keys(node.group("c")?.vector ?? {}) as Actor[];
    const body = gCounter.encode(gCounter.create());
    const vector = new VersionVector([[actor, 1000]]);
    ghost.say({ kind: "state", group, vector, frontier: [actor], time: 5, whole: true, body });
    await expect.poll(() => codes(grove)).toContain("INCARNATION_REUSED");
    counter.mutate((c) => c.increment(7));
    await grove.converged();
    expect((await node.open("c", gCounter)).value()).toBeGreaterThanOrEqual(7);
  });

  it("a write of the far future is overwritten by whoever has seen it", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const map = await node.open("m", notes);
    ghost.say(gossipNotes("m", writeAt(STRANGER, hybridTime(Date.UTC(2085, 0)), "k", "forged")));
    await expect.poll(() => map.value()).toEqual({ k: "forged" });
    map.mutate((m) => m.set("k", "mine"));
    expect(map.value()).toEqual({ k: "mine" });
  });

  it("a write at the end of time spoils its own group alone, with a coded error", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const map = await node.open("m", notes);
    ghost.say(gossipNotes("m", writeAt(STRANGER, Number.MAX_SAFE_INTEGER - 1, "k", "forged")));
    await expect.poll(() => map.value()).toEqual({ k: "forged" });
    expect(() => map.mutate((m) => m.set("k", "mine"))).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
    const counter = await node.open("c", gCounter);
    await counter.mutate((c) => c.increment(1), { ack: "memory" });
    expect(counter.value()).toBe(1);
  });

  it("the last of all epochs: the group can be used there, and no further", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const friend = await grove.start("b", ["a"]);
    await node.open("c", gCounter);
    const last = { ...group, epoch: SEQ_MAX };
    ghost.say({ ...gossip("c", increments(STRANGER, 1, 1)), group: last } as Message);
    await expect.poll(() => friend.group("c")?.epoch).toBe(SEQ_MAX);
    await expect(node.delete("c")).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    await grove.converged();
    expect((await node.open("c", gCounter)).value()).toBe(1);
  });

  it("names of what every object has are keys like any other, wherever keys are", async () => {
    await using grove = new Grove({ peerExchange: true });
    const nested = orMap(lwwMap<string>());
    const types = [nested, notes, gCounter];
    const { node, ghost } = await haunted(grove, { types });
    const other = await grove.start("b", ["a"], { types });
    ghost.say(
      { kind: "hello", protocol: 1, heard: true, domains: NAMES },
      { kind: "heartbeat", now: Date.now(), hash: 1, hears: NAMES },
      { kind: "sums", isReply: false, sums: NAMES.map((domain) => ({ domain, groups: 1, digest: [1, 2] })) },
      { kind: "members", members: NAMES.map((peer) => ({ peer, addresses: NAMES, domains: NAMES })) },
    );
    for (const name of NAMES) {
      ghost.say({
        kind: "presence",
        key: encodeGroupId([name, name]),
        origin: name,
        clock: 1,
        state: Uint8Array.of(1),
      });
      const map = await other.open([name, name], nested);
      map.mutate((m) => m.at(name).set(name, name));
    }
    await grove.converged();
    for (const name of NAMES) {
      const value = (await node.open([name, name], nested)).value() as Record<string, Record<string, string>>;
      expect(Object.getOwnPropertyDescriptor(value, name)?.value).toBeTypeOf("object");
      expect(JSON.stringify(value)).toBe(`{"${name}":{"${name}":"${name}"}}`);
    }
    for (const name of ["polluted", ...NAMES]) expect(Object.hasOwn(Object.prototype, name)).toBe(name !== "polluted");
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});

describe("what a peer must not make a node hold or do", () => {
  it("more groups than it may have", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove, { limits: { groupsMax: 20 } });
    const run = increments(STRANGER, 1, 1);
    ghost.say(...Array.from({ length: 500 }, (_, index) => gossip(["flood", index], run)));
    await expect.poll(() => [...node.groups()].length).toBe(20);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([...node.groups()]).toHaveLength(20);
  });

  it("more groups than it may have, though its peer is well-meaning: the others go on", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    for (let index = 0; index < 30; index++) (await a.open(["d", index], gCounter)).mutate((c) => c.increment(1));
    const b = await grove.start("b", ["a"], { limits: { groupsMax: 20 } });
    await expect.poll(() => [...b.groups()].length).toBe(20);
    const [known] = b.groups();
    const group = await a.open(known?.id ?? "", gCounter);
    await group.mutate((c) => c.increment(1), { ack: { replicas: 1 } });
    expect([...b.groups()]).toHaveLength(20);
    const told = grove.notices.filter(({ code }) => code === "LIMIT_EXCEEDED");
    expect(told).toMatchObject([{ message: expect.stringContaining("takes no other from peers") }]);
    expect(codes(grove)).not.toContain("MALFORMED_FRAME");
  });

  it("more presence than a group may have", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const counter = await node.open("c", gCounter);
    const state = new Uint8Array(100);
    ghost.say(
      ...Array.from({ length: 2000 }, (_, index): Message => {
        return { kind: "presence", key: group.key, origin: `g${index}`, clock: 1, state };
      }),
    );
    await expect.poll(() => counter.presence.states().size).toBe(256);
  });

  it("more presence than one node may say", async () => {
    await using grove = new Grove();
    const { node, ghost, left } = await haunted(grove);
    const counter = await node.open("c", gCounter);
    const say = (bytes: number): void => {
      ghost.say({ kind: "presence", key: group.key, origin: `g${bytes}`, clock: 1, state: new Uint8Array(bytes) });
    };
    say(4096);
    await expect.poll(() => counter.presence.states().size).toBe(1);
    say(4097);
    await expect.poll(() => left).toContain("ghost");
    expect(codes(grove)).toContain("MALFORMED_FRAME");
    expect(counter.presence.states().size).toBe(1);
  });

  it("broadcasts of more nodes than a group may have, larger than they may be, or without end", async () => {
    await using grove = new Grove();
    const { node, ghost, left } = await haunted(grove, { limits: { eventsPerSecondMax: 20_000 } });
    const counter = await node.open("c", gCounter);
    const heard = new Set<string>();
    counter.onBroadcast((_message, from) => void heard.add(from));
    const say = (origin: string, clock: number, bytes: number): Message => {
      return { kind: "broadcast", key: group.key, origin, clock, message: new Uint8Array(bytes) };
    };
    ghost.say(...Array.from({ length: 1000 }, (_, index) => say(`g${index}`, 1, 10)));
    await expect.poll(() => heard.size).toBe(256);
    for (let clock = 2; clock < 400 && left.length === 0; clock++) {
      ghost.say(say("g1", clock, 65_536));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => left).toContain("ghost");
    expect(codes(grove)).toContain("MALFORMED_FRAME");
    await ghost.leave();
    const other = new Ghost(grove, "other");
    await other.haunt("a");
    other.say(say("g1", 1000, 65_537));
    await expect.poll(() => left).toContain("other");
  });

  it("a message of fragments without end", async () => {
    await using grove = new Grove();
    const { ghost, left } = await haunted(grove, { limits: { messageBytesMax: 100_000 } });
    const bytes = new Uint8Array(30_000);
    for (let index = 0; index < 5; index++) ghost.say({ kind: "fragment", id: 1, index, count: 50, bytes });
    await expect.poll(() => left).toContain("ghost");
    expect(grove.notices.find(({ code }) => code === "MALFORMED_FRAME")?.message).toMatch(/more than 100000 bytes/);
  });

  it("a message of very many fragments with nothing in them", async () => {
    await using grove = new Grove();
    const { ghost, left } = await haunted(grove, { limits: { messageBytesMax: 100_000 } });
    ghost.say({ kind: "fragment", id: 1, index: 0, count: 1_000_000, bytes: new Uint8Array(0) });
    await expect.poll(() => left).toContain("ghost");
  });

  it("sums of domains that nobody has", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    ghost.say({ kind: "sums", isReply: false, sums: [{ domain: "x", groups: 0, digest: [0, 0] }] });
    await expect.poll(() => node.peers()[0]?.lastSyncAt).toBeGreaterThan(0);
    // Nothing is remembered of them.
    expect((await node.open(["x", 1], gCounter)).status.comparedAt).toBe(0);
  });

  it("events that wait for ever for others", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove, { limits: { pendingBytesMax: 500 } });
    const counter = await node.open("c", gCounter);
    for (let seq = 1000; seq > 2; seq -= 2) ghost.say(gossip("c", increments(STRANGER, seq, 1)));
    await expect.poll(() => node.group("c")?.pendingBytes ?? 0).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(node.group("c")?.pendingBytes).toBeLessThanOrEqual(500);
    counter.mutate((c) => c.increment(5));
    expect(counter.value()).toBe(5);
  });

  it("events faster than it may send them: held back at first, and cut off with the reason when it goes on", async () => {
    await using grove = new Grove();
    const { ghost, left } = await haunted(grove, { limits: { eventsPerSecondMax: 20 } });
    const friend = await grove.start("b", ["a"]);
    for (let burst = 0; burst < 200 && !codes(grove).includes("MALFORMED_FRAME"); burst++) {
      ghost.say(...Array.from({ length: 20 }, (_, at) => gossip(["burst", burst, at], increments(STRANGER, 1, 1))));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => left).toContain("ghost");
    expect(left).not.toContain("b");
    const notice = grove.notices.find(({ code }) => code === "MALFORMED_FRAME");
    expect(notice?.message).toMatch(/eventsPerSecondMax/);
    expect(friend.peers()).toHaveLength(1);
    // Linking anew does not help it: it has used up its patience.
    await ghost.leave();
    left.length = 0;
    const again = new Ghost(grove, "ghost");
    await again.haunt("a");
    again.say(...Array.from({ length: 40 }, (_, at) => gossip(["again", at], increments(STRANGER, 1, 1))));
    await expect.poll(() => left).toContain("ghost");
  });

  it("actors without end in one group", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove, { limits: { actorsPerGroupMax: 10 } });
    await node.open("c", gCounter);
    const actor = (index: number): Actor => actorFromBytes(new Uint8Array(16).fill(index + 1));
    ghost.say(...Array.from({ length: 100 }, (_, index) => gossip("c", increments(actor(index), 1, 1))));
    await expect.poll(() => node.group("c")?.isPaused).toBe(true);
    expect(Object.keys(node.group("c")?.vector ?? {}).length).toBeLessThanOrEqual(10);
    const vector = new VersionVector(Array.from({ length: 100 }, (_, index) => [actor(index), 1] as const));
    const body = gCounter.encode(gCounter.create());
    ghost.say({ kind: "state", group, vector, frontier: [], time: 1, whole: true, body });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(Object.keys(node.group("c")?.vector ?? {}).length).toBeLessThanOrEqual(10);
  });

  it("questions without end", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const counter = await node.open("c", gCounter);
    counter.mutate((c) => c.increment(1));
    const domains = Array.from({ length: 1000 }, (_, index) => `d${index}`);
    const hashes = Array.from({ length: 5000 }, () => groupHash(group.key));
    for (let times = 20; times > 0; times--) {
      ghost.say(
        { kind: "sums", isReply: false, sums: domains.map((domain) => ({ domain, groups: 9, digest: [3, 4] })) },
        { kind: "want", hashes },
        { kind: "hello", protocol: 1, heard: false, domains },
        { kind: "more", domain: "", version: 1, from: 0, upto: 64 },
        { kind: "sketch", domain: "", version: 1, from: 0, cells: new Uint32Array(400).fill(7) },
        { kind: "ack", key: group.key, epoch: 1, actor: STRANGER, seq: 99, durable: true },
        { kind: "conflict", group },
      );
    }
    counter.mutate((c) => c.increment(1));
    expect(counter.value()).toBe(2);
    const friend = await grove.start("b", ["a"]);
    await expect.poll(() => friend.group("c")?.events).toBe(2);
  });

  it("acknowledgements of what it has not got count for its own word alone", async () => {
    await using grove = new Grove();
    const { node, ghost } = await haunted(grove);
    const counter = await node.open("c", gCounter);
    const write = counter.mutate((c) => c.increment(1), { ack: { replicas: 2 }, timeoutMs: 300 });
    const [actor = STRANGER] = Object.keys(node.group("c")?.vector ?? {}) as Actor[];
    for (let times = 5; times > 0; times--) {
      ghost.say({ kind: "ack", key: group.key, epoch: 1, actor, seq: 1, durable: true });
    }
    await expect(Promise.resolve(write)).rejects.toMatchObject({ code: "TIMEOUT" });
  });
});
