import { gCounter } from "@coppice/crdt";
import { memoryStorage } from "@coppice/storage";
import { SimulatedDisk } from "@coppice/storage/testing";
import { describe, expect, it } from "vitest";
import { createMemoryNetwork } from "./memory-transport.ts";
import { createNode } from "./node.ts";
import type { NodeOptions, Notice } from "./node-options.ts";
import { Grove } from "./nodes.test-support.ts";

describe("createNode refuses, and says what is wrong with", () => {
  const wrong: readonly (readonly [string, unknown, string])[] = [
    ["no options", undefined, "the options of createNode must be an object"],
    ["an option that there is not", { storrage: memoryStorage() }, "createNode has no option storrage"],
    ["a type that is none", { types: [{ name: "x" }] }, "not a CRDT type"],
    ["a transport that is none", { transport: "tcp" }, "transport must be one"],
    ["domains as text", { domains: "shop" }, "domains must be a list"],
    ["a roster as text", { rosters: { shop: "a,b" } }, 'rosters["shop"] must be a list'],
    ["a roster of nobody", { rosters: { shop: [] } }, "names nobody"],
    ["a policy that is none", { policies: { shop: null } }, 'policies["shop"]'],
    ["a setting that a policy has not", { policies: { shop: { durabilty: "sync" } } }, "has no option durabilty"],
    ["an interval as text", { syncIntervalMs: "50" }, 'not "50"'],
    ["a limit that there is not", { limits: { groupMax: 1 } }, "limits has no option groupMax"],
    ["a limit below 1", { limits: { groupsMax: 0 } }, "limits.groupsMax"],
    ["a listener that is no function", { onNotice: "log" }, "onNotice must be a function"],
    ["a clock that is no function", { now: 5 }, "now must be a function"],
  ];
  it.each(wrong)("%s", async (_what, options, message) => {
    const all = options === undefined ? options : { types: [gCounter], ...(options as object) };
    await expect(createNode(all as NodeOptions)).rejects.toMatchObject({
      code: "INVALID_OPTIONS",
      message: expect.stringContaining(message),
    });
  });
});

describe("createNode", () => {
  it("leaves the transport of another node alone", async () => {
    const network = createMemoryNetwork();
    const transport = network.transport("a");
    await using node = await createNode({ types: [gCounter], transport });
    await expect(createNode({ types: [gCounter], transport })).rejects.toThrow(TypeError);
    await using other = await createNode({ types: [gCounter], transport: network.transport("b") });
    expect(await other.connect(node.addresses()[0] ?? "")).toBe("a");
  });

  it("rejects with the reason of its signal", async () => {
    const signal = AbortSignal.abort(new Error("no more"));
    await expect(createNode({ types: [gCounter] }, { signal })).rejects.toThrow("no more");
  });
});

describe("a replica", () => {
  it("writes nothing when its acknowledgement makes no sense", async () => {
    await using node = await createNode({ types: [gCounter], storage: new SimulatedDisk().backend() });
    const views = await node.open("views", gCounter);
    for (const ack of ["disk", "Sync", 5, null, {}, { replicas: 0 }, { replicas: "most" }]) {
      const write = (): unknown => views.mutate((counter) => counter.increment(1), { ack: ack as never });
      expect(write).toThrow(expect.objectContaining({ code: "ACK_UNAVAILABLE" }));
    }
    for (const timeoutMs of [Number.NaN, Number.POSITIVE_INFINITY, -1, "5"]) {
      const options = { ack: { replicas: 1 }, timeoutMs: timeoutMs as number };
      const write = (): unknown => views.mutate((counter) => counter.increment(1), options);
      expect(write).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    }
    expect(views.value()).toBe(0);
  });

  it("takes functions to call back, and bytes to broadcast, and nothing else", async () => {
    await using node = await createNode({ types: [gCounter] });
    const views = await node.open("views", gCounter);
    expect(() => views.subscribe("x" as never)).toThrow("subscribe takes a function");
    expect(() => views.presence.subscribe(undefined as never)).toThrow("subscribe takes a function");
    expect(() => views.onBroadcast(null as never)).toThrow("onBroadcast takes a function, not null");
    expect(() => node.onPeer({} as never)).toThrow("onPeer takes a function");
    expect(() => node.onChange("x" as never)).toThrow("onChange takes a function");
    expect(() => views.onDelete(1 as never)).toThrow("onDelete takes a function");
    expect(() => views.broadcast("hello" as never)).toThrow(TypeError);
  });

  it("that is closed tells how its group stands, and throws CLOSED for the rest; its subscriptions have ended", async () => {
    await using grove = new Grove();
    const node = await grove.start("a");
    const kept = await node.open("views", gCounter);
    const views = await node.open("views", gCounter);
    const { presence } = views;
    let told = 0;
    presence.subscribe(() => void told++);
    const changes = views.changes();
    views.close();
    kept.presence.set("here");
    expect(told).toBe(0);
    expect(await changes.next()).toMatchObject({ done: true });
    expect(views.status.digest).toBe(views.digest());
    const closed = expect.objectContaining({ code: "CLOSED" });
    for (const use of [
      () => views.changes(),
      () => views.value(),
      () => presence.states(),
      () => presence.subscribe(() => {}),
    ]) {
      expect(use).toThrow(closed);
    }
    await expect(views.synced()).rejects.toMatchObject({ code: "CLOSED" });
  });
});

describe("a subscriber that fails", () => {
  it("at once or later, is noticed and ends neither the process nor the others", async () => {
    const failed: string[] = [];
    const later = (): unknown => Promise.reject(new Error("later"));
    const onNotice = ({ code, message }: Notice): unknown => {
      if (code === "SUBSCRIBER_FAILED") failed.push(message);
      return later();
    };
    await using node = await createNode({ types: [gCounter], onNotice });
    const views = await node.open("views", gCounter);
    let told = 0;
    views.subscribe(() => {
      throw new Error("at once");
    });
    views.subscribe(later);
    views.subscribe(() => void told++);
    views.mutate((counter) => counter.increment(1));
    await expect.poll(() => failed.length).toBe(2);
    expect(failed.join()).toMatch(/at once.*later/);
    expect(told).toBe(1);
  });
});

describe("a misspelt option", () => {
  it("is refused by whatever takes options, and nothing is done", async () => {
    await using node = await createNode({ types: [gCounter] });
    const views = await node.open("views", gCounter);
    const refused = { code: "INVALID_OPTIONS", message: expect.stringContaining("has no option") };
    const misspelt = { akc: "sync" } as never;
    expect(() => views.mutate((counter) => counter.increment(1), misspelt)).toThrow(expect.objectContaining(refused));
    expect(() => views.changes(misspelt)).toThrow(expect.objectContaining(refused));
    expect(() => node.changedSince(undefined, misspelt)).toThrow(expect.objectContaining(refused));
    expect(() => [...node.groups(misspelt)]).toThrow(expect.objectContaining(refused));
    for (const use of [
      node.open("x", gCounter, misspelt),
      node.recover(misspelt),
      node.verify("views", misspelt),
      node.collect("views", misspelt),
      node.delete("views", misspelt),
      node.snapshot("views", misspelt),
      node.sync(misspelt),
      node.connect("memory:/b", misspelt),
      createNode({ types: [gCounter] }, misspelt),
      views.synced(misspelt),
      views.atLeast(views.sessionToken(), misspelt),
      views.readBarrier(misspelt),
    ]) {
      await expect(use).rejects.toMatchObject(refused);
    }
    await expect(views.readBarrier(undefined as never)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    expect(() => createMemoryNetwork(misspelt)).toThrow(expect.objectContaining(refused));
    expect(() => createMemoryNetwork().transport("x", misspelt)).toThrow(expect.objectContaining(refused));
    expect(views.value()).toBe(0);
    expect(node.group("x")).toBeUndefined();
  });
});

describe("a node", () => {
  it("says which group, type or number it cannot use", async () => {
    await using node = await createNode({ types: [gCounter] });
    await expect(node.open("x", undefined as never)).rejects.toThrow("not a CRDT type");
    await expect(node.open("x", {} as never)).rejects.toThrow("not a CRDT type");
    expect(node.group("x")).toBeUndefined();
    await expect(node.snapshot("x")).rejects.toMatchObject({ code: "UNKNOWN_GROUP" });
    expect(() => node.randomPeers(-1)).toThrow(TypeError);
    await node.open("x", gCounter);
    await expect(node.verify("x", { timeoutMs: Number.NaN })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });

  it("that is closed rejects, and throws nothing, where it gives a promise", async () => {
    const node = await createNode({ types: [gCounter] });
    await node.close();
    const closed = { code: "CLOSED" };
    for (const use of [
      node.recover(),
      node.superseded(),
      node.readSuperseded("x", 1),
      node.removeSuperseded("x", 1),
      node.snapshot(),
    ]) {
      await expect(use).rejects.toMatchObject(closed);
    }
  });
});
