import { type Actor, VersionVector, createActor } from "@coppice/crdt";
import { describe, expect, it } from "vitest";
import { createDomains } from "./domains.ts";
import type { GroupSnapshot, GroupStorage, SupersededState } from "./group-storage.ts";
import { createGroupStore } from "./group-store.ts";
import { memoryStorage } from "./memory.ts";
import { decodeSuperseded, encodeSuperseded } from "./superseded.ts";

const ACTOR: Actor = createActor(new Uint8Array(8).fill(1), new Uint8Array(8).fill(2));

function snapshot(name: string, epoch = 1): GroupSnapshot {
  const vector = new VersionVector([[ACTOR, 3]]);
  const body = new TextEncoder().encode(name);
  return {
    id: [name, 1],
    type: "map",
    epoch,
    vector,
    frontier: [ACTOR],
    time: 7,
    digest: [1, 2],
    journalPosition: 0,
    body,
  };
}

async function all(storage: GroupStorage): Promise<SupersededState[]> {
  const found: SupersededState[] = [];
  for await (const page of storage.listSuperseded()) found.push(...page);
  return found;
}

describe("superseded states", () => {
  it("outlive the epoch they are of, a deletion, and what sweeps it", async () => {
    const backend = memoryStorage();
    const store = createGroupStore(backend, { now: () => 99 });
    await store.open();
    const state = snapshot("g");
    await store.commit({ snapshots: [state] });
    await store.commit({ superseded: [state], deletions: [{ ...state, epoch: 2 }] }, { sync: true });
    expect(await store.load(state.id)).toBeUndefined();
    const { id, type, epoch, vector, time, body } = state;
    expect(await all(store)).toEqual([{ id, type, epoch, vector, time, keptAt: 99, body }]);
    await store.close();
    await store.open();
    expect(await all(store)).toHaveLength(1);
    expect(await store.removeSuperseded(id, 3)).toBe(false);
    expect(await store.removeSuperseded(id, 1)).toBe(true);
    expect(await all(store)).toEqual([]);
    await store.close();
  });

  it("go to the storage of their domain", async () => {
    const [left, right] = [memoryStorage(), memoryStorage()];
    const domains = createDomains();
    domains.configureDomain("left", { adapter: left });
    domains.configureDomain("right", { adapter: right });
    await domains.open();
    await domains.commit({ superseded: [snapshot("left"), snapshot("right", 3), snapshot("right", 5)] });
    expect((await all(domains)).map(({ id, epoch }) => [id, epoch])).toEqual(
      expect.arrayContaining([
        [["left", 1], 1],
        [["right", 1], 3],
        [["right", 1], 5],
      ]),
    );
    const ofRight: SupersededState[] = [];
    for await (const page of domains.listSuperseded({ id: ["right", 1] })) ofRight.push(...page);
    expect(ofRight).toHaveLength(2);
    expect(await domains.removeSuperseded(["right", 1], 3)).toBe(true);
    expect(await all(domains)).toHaveLength(2);
    await domains.close();
  });

  it("that are damaged are refused, and do not hide the others", async () => {
    const { key, value } = encodeSuperseded(snapshot("g"), 1);
    for (let bit = 0; bit < 8 * value.length; bit++) {
      const damaged = value.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => decodeSuperseded(damaged, key)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    }
    expect(() => decodeSuperseded(value, `${key}x`)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    const backend = memoryStorage();
    const store = createGroupStore(backend);
    await store.open();
    await store.commit({ superseded: [snapshot("f"), snapshot("h")] });
    await backend.write([{ op: "put", key, value: value.slice(1) }]);
    expect((await all(store)).map(({ id }) => id)).toEqual([
      ["f", 1],
      ["h", 1],
    ]);
    await store.close();
  });
});
