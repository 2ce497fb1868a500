import { VersionVector, gCounter, parseActor } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import type { Node } from "./node.ts";
import { Grove, notes } from "./nodes.test-support.ts";
import { SESSION_TOKEN_BYTES_MAX, encodeSessionToken, mergeSessionTokens } from "./session-token.ts";

/** So long that nothing is repaired unless it is asked for. */
const NEVER_MS = 2 ** 31 - 1;
const ROSTER = { rosters: { shop: ["a", "b", "c"] } };

describe("session tokens", () => {
  it("let another node answer no older than what was written, asking for what it missed", async () => {
    await using grove = new Grove();
    const options = { syncIntervalMs: NEVER_MS, heartbeatMs: NEVER_MS };
    const a = await grove.start("a", [], options);
    const b = await grove.start("b", ["a"], options);
    const [onA, onB] = [await a.open("m", notes), await b.open("m", notes)];
    grove.network.partition("a", "b");
    const write = onA.mutate((m) => m.set("k", "v"));
    await write;
    await new Promise((resolve) => setTimeout(resolve, 50));
    grove.network.heal();
    expect(onB.value()).toEqual({});
    await onB.atLeast(write.sessionToken);
    expect(onB.value()).toEqual({ k: "v" });
    await onB.atLeast(write.sessionToken);
  });

  it("stand for everything that their writer had seen", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const c = await grove.start("c");
    const [onA, onB] = [await a.open("m", notes), await b.open("m", notes)];
    await onA.mutate((m) => m.set("first", "a"), { ack: { replicas: 1 } });
    const second = onB.mutate((m) => m.set("second", "b"));
    await second;
    const onC = await c.open("m", notes);
    const reached = onC.atLeast(second.sessionToken);
    await c.connect("memory:/b");
    await reached;
    expect(onC.value()).toEqual({ first: "a", second: "b" });
  });

  it("of reads never let a session see less than before", async () => {
    await using grove = new Grove();
    const nodes: Node[] = [];
    for (const [name, peers] of [
      ["a", []],
      ["b", ["a"]],
      ["c", ["b"]],
    ] as const) {
      nodes.push(await grove.start(name, peers));
    }
    const replicas = await Promise.all(nodes.map((node) => node.open("c", gCounter)));
    let seen = 0;
    let token = "";
    for (let turn = 0; turn < 60; turn++) {
      const replica = replicas[(turn * 7) % 3];
      if (replica === undefined) throw new TypeError("there are three");
      if (turn % 4 === 0) {
        const write = replica.mutate((counter) => counter.increment(1));
        token = mergeSessionTokens(token, write.sessionToken);
      }
      await replica.atLeast(token === "" ? replica.sessionToken() : token);
      expect(replica.value()).toBeGreaterThanOrEqual(seen);
      seen = replica.value();
      token = mergeSessionTokens(token, replica.sessionToken());
    }
    expect(seen).toBe(15);
  });

  it("that cannot be reached in time name what is missing and who was asked", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const alone = await grove.start("alone");
    const [onA, onB] = [await a.open("m", notes), await b.open("m", notes)];
    const elsewhere = await alone.open("m", notes);
    const write = elsewhere.mutate((m) => m.set("k", "v"));
    await expect(onB.atLeast(write.sessionToken, { timeoutMs: 150 })).rejects.toMatchObject({
      code: "TIMEOUT",
      message: expect.stringMatching(/event 1 of [0-9a-f]{32} \(known here: 0\).*asked a/),
    });
    await expect(onB.atLeast(write.sessionToken, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    const closing = onA.atLeast(write.sessionToken);
    await grove.stop("a");
    await expect(closing).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("of an epoch that was left are reached, of a later one bring it here", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const b = await grove.start("b", ["a"]);
    const old = (await a.open("m", notes)).mutate((m) => m.set("k", "old")).sessionToken;
    await grove.converged();
    await a.delete("m");
    const anew = await a.open("m", notes, { recreate: true });
    const write = anew.mutate((m) => m.set("k", "new"));
    await write;
    const onB = await b.open("m", notes, { recreate: true });
    await onB.atLeast(write.sessionToken);
    expect(onB.value()).toEqual({ k: "new" });
    await onB.atLeast(old);
    await onB.atLeast(mergeSessionTokens(old, write.sessionToken, ""));
    await b.delete("m");
    await expect.poll(() => a.group("m")?.phase).toBe("deleted");
    await expect(anew.atLeast(write.sessionToken)).rejects.toMatchObject({ code: "GROUP_DELETED" });
  });

  it("are short, and are refused when they are damaged or would be long", async () => {
    await using grove = new Grove();
    const a = await grove.start("a");
    const map = await a.open(["some", "map"], notes);
    const write = map.mutate((m) => m.set("k", "v"));
    expect(write.sessionToken).toMatch(/^[\w-]{20,60}$/);
    expect(map.sessionToken()).toBe(write.sessionToken);
    expect(map.mutate((m) => m.get("k")).sessionToken).toBe(write.sessionToken);
    const damaged = ["", "!", "AAAA", write.sessionToken.slice(1), `${write.sessionToken}AAAA`, 7 as never];
    for (const token of damaged) {
      await expect(map.atLeast(token)).rejects.toMatchObject({ code: "INVALID_TOKEN" });
    }
    const many = await Promise.all(
      Array.from({ length: 300 }, async (_, index) => {
        const group = await a.open(["g", index], gCounter);
        return group.mutate((counter) => counter.increment(1)).sessionToken;
      }),
    );
    const merged = mergeSessionTokens(...many.slice(0, 100));
    expect(merged.length).toBeLessThan(SESSION_TOKEN_BYTES_MAX);
    expect(() => mergeSessionTokens(...many)).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
    const vector = new VersionVector(
      Array.from({ length: 10_000 }, (_, index) => [parseActor(index.toString(16).padStart(32, "0")), 1] as const),
    );
    const points = new Map([["c", { epoch: 1, vector }]]);
    expect(() => encodeSessionToken(points)).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
    await map.atLeast(merged);
    await expect(map.atLeast(merged, { timeoutMs: Number.NaN })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});

describe("reads from members", () => {
  it("need a roster for majority and all, and say who answered when they fail", async () => {
    await using grove = new Grove();
    const a = await grove.start("a", [], ROSTER);
    await grove.start("b", ["a"], ROSTER);
    const group = await a.open(["shop", 1], gCounter);
    const open = await a.open(["park", 1], gCounter);
    await group.readBarrier({ from: "majority" });
    await group.readBarrier({ from: 1 });
    await expect(group.readBarrier({ from: "all", timeoutMs: 150 })).rejects.toMatchObject({
      code: "TIMEOUT",
      message: expect.stringContaining("1 answered: b"),
    });
    for (const from of ["majority", "all"] as const) {
      await expect(open.readBarrier({ from })).rejects.toMatchObject({ code: "NO_MEMBERSHIP" });
    }
    for (const from of [0, -1, 0.5, "most" as never]) {
      await expect(open.readBarrier({ from })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    }
  });

  it("of a majority see every write that a majority acknowledged, whoever is cut off", async () => {
    await using grove = new Grove();
    const options = { ...ROSTER, syncIntervalMs: NEVER_MS };
    const names = ["a", "b", "c"];
    const nodes = [
      await grove.start("a", [], options),
      await grove.start("b", ["a"], options),
      await grove.start("c", ["a", "b"], options),
    ];
    const replicas = await Promise.all(nodes.map((node) => node.open(["shop", 1], gCounter)));
    let acknowledged = 0;
    for (let turn = 0; turn < 30; turn++) {
      const [cut, writer, reader] = [turn % 3, (turn + 1) % 3, (turn + 2) % 3];
      // The one that is cut off missed the last write when it comes back, and is the next to read or write.
      for (const other of names.filter((_, index) => index !== cut)) {
        grove.network.partition(names[cut] as string, other);
      }
      await replicas[writer]?.mutate((counter) => counter.increment(1), { ack: { replicas: "majority" } });
      acknowledged++;
      await replicas[reader]?.readBarrier({ from: "majority" });
      expect(replicas[reader]?.value()).toBe(acknowledged);
      grove.network.heal();
      await replicas[cut]?.readBarrier({ from: "majority" });
      expect(replicas[cut]?.value()).toBe(acknowledged);
    }
  });

  it("are not answered by a minority", async () => {
    await using grove = new Grove();
    const [a, b, c] = [
      await grove.start("a", [], ROSTER),
      await grove.start("b", ["a"], ROSTER),
      await grove.start("c", ["a", "b"], ROSTER),
    ];
    const [onA, , onC] = await Promise.all([a, b, c].map((node) => node.open(["shop", 1], gCounter)));
    grove.network.partition("c", "a");
    grove.network.partition("c", "b");
    await onA?.mutate((counter) => counter.increment(1), { ack: { replicas: "majority" } });
    await expect(onC?.readBarrier({ from: "majority", timeoutMs: 100 })).rejects.toMatchObject({ code: "TIMEOUT" });
    const late = onC?.readBarrier({ from: "all" });
    grove.network.heal();
    await late;
    expect(onC?.value()).toBe(1);
  });
});
