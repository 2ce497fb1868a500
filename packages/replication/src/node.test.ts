import { gCounter, lwwRegister, orMap, struct } from "@coppice/crdt";
import { memoryStorage } from "@coppice/storage";
import { afterEach, describe, expect, it } from "vitest";
import { createMemoryNetwork } from "./memory-transport.ts";
import { type Node, createNode } from "./node.ts";

const open: Node[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((node) => node.close()));
});

async function start(...args: Parameters<typeof createNode>): Promise<Node> {
  const node = await createNode(...args);
  open.push(node);
  return node;
}

const words = struct({ words: orMap(gCounter), total: gCounter, position: orMap(lwwRegister<number>()) });

describe("a node", () => {
  it("applies writes at once and keeps them in its storage", async () => {
    const storage = memoryStorage();
    const node = await start({ types: [gCounter], storage });
    const views = await node.open(["counter", "views"], gCounter);
    expect(views.mutate((counter) => counter.increment(5)).result).toBeUndefined();
    await views.mutate((counter) => counter.increment(1));
    expect(views.value()).toBe(6);
  });

  it("replicates to a peer, both ways", async () => {
    const network = createMemoryNetwork();
    const a = await start({ types: [gCounter, words], transport: network.transport("a") });
    const b = await start({ types: [gCounter, words], transport: network.transport("b") });
    await a.connect(b.addresses()[0] ?? "");
    const onA = await a.open(["words", "w"], words);
    const onB = await b.open(["words", "w"], words);
    onA.mutate((group) => {
      group.words.at("hello").increment(2);
      group.total.increment(2);
      group.position.at("a").set(17);
    });
    onB.mutate((group) => group.words.at("hello").increment(3));
    await expect.poll(() => onA.value().words.hello).toBe(5);
    await expect.poll(() => onB.value()).toEqual({ words: { hello: 5 }, total: 2, position: { a: 17 } });
    expect(onA.digest()).toBe(onB.digest());
    expect(onA.contentHash()).toBe(onB.contentHash());
  });
});
