import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Finding } from "./check.ts";
import type { GroupId } from "./group-id.ts";
import { createGroupStore } from "./group-store.ts";
import { collect, meta, record, snapshot } from "./group-store.test-support.ts";
import { levelStorage } from "./level/index.ts";
import { repairStorage } from "./repair.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "coppice-keys-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

const GROUPS: readonly GroupId[] = [["w", 1], ["w", 2], "plain"];
const BODY = new Uint8Array(600).map((_, index) => index * 31 + (index >> 3));

async function fill(): Promise<void> {
  await using store = createGroupStore(levelStorage(directory), { compression: "none" });
  await store.open();
  for (const id of GROUPS) {
    await store.commit({ created: [meta(id)], records: [record(id, 0), record(id, 1)] });
    await store.commit({ snapshots: [{ ...snapshot(id, 2), body: BODY }], records: [record(id, 2)] });
  }
  await store.commit({ superseded: [snapshot("plain", 1)] });
  await store.writeNode({ nodeId: "n", starts: 1, clean: false, peers: [] });
}

/** Moves a value to another key, below all checks. */
async function rename(from: string, to: string): Promise<void> {
  await using level = new Level<string, Uint8Array>(join(directory, "db"), { valueEncoding: "view" });
  const value = await level.get(from);
  if (value === undefined) throw new Error(`there is no ${from}`);
  await level.batch([
    { type: "del", key: from },
    { type: "put", key: to, value },
  ]);
}

async function rawKeys(): Promise<string[]> {
  await using level = new Level(join(directory, "db"));
  return await level.keys().all();
}

/** Uses every group in every way; how many events each one has then. */
async function useAll(): Promise<number[]> {
  await using store = createGroupStore(levelStorage(directory));
  await store.open();
  expect(await collect(store.listGroups({ journalled: true }))).not.toHaveLength(0);
  await collect(store.listJournalled());
  await collect(store.listSuperseded());
  expect(await store.readNode()).toMatchObject({ nodeId: "n" });
  const events = [];
  for (const id of GROUPS) {
    const found = await store.load(id);
    await store.commit({ created: [meta(id)], records: [record(id, found?.nextPosition ?? 0)] });
    events.push((await store.load(id))?.nextPosition ?? 0);
  }
  expect(await collect(store.loadGroups())).toHaveLength(GROUPS.length);
  return events;
}

it("a bit that flips in the key of anything costs what was there, and no other group anything", async () => {
  await fill();
  for (const key of await rawKeys()) {
    for (let at = key.length % 5; at < key.length; at += 5) {
      const code = key.charCodeAt(at) ^ (1 << ((at + key.length) % 7));
      await rename(key, key.slice(0, at) + String.fromCharCode(code) + key.slice(at + 1));
      const events = await useAll();
      // Of the group itself the journal may end earlier.
      const others = ["w!ip11", "w!ip12", "plain"].map((group, index) => (key.includes(group) ? 4 : events[index]));
      expect(others).toEqual([4, 4, 4]);
      await rm(directory, { recursive: true });
      await fill();
    }
  }
}, 120_000);

it("a check names what has the key of nothing, and a repair moves aside what can be named", async () => {
  await fill();
  await rename(" ltsw!ip11!11 12", " ltsw!ip11!1q 12");
  await rename("stsw!ip12!111", "stsw!iq12!111");
  await rename("osplain!11", "osplane!11");
  await rename("nb", "Nb");
  await rename("csplain!0", "csplain\u0001" + "0");
  await using backend = levelStorage(directory);
  await backend.open();
  const orphans = (findings: readonly Finding[]): string[] =>
    findings.filter(({ kind }) => kind !== "quarantined").map(({ kind, place }) => `${kind} ${JSON.stringify(place)}`);
  const { before, after } = await repairStorage(backend);
  expect(orphans(before.findings).toSorted()).toEqual([
    'catalogue "csplain!0"',
    'catalogue "csplain\\u00010"',
    'catalogue "csplain\\u00011"',
    'orphan "Nb"',
    'orphan "stsw!iq12!111"',
    'orphan "tsw!ip11!1q 2"',
    'snapshot "stsw!ip12!111"',
    'superseded "osplane!11"',
  ]);
  expect(orphans(after.findings)).toEqual(['catalogue "csplain\\u00010"', 'catalogue "csplain\\u00011"']);
  const moved = (await collect(backend.scan({ prefix: "q" }))).map(({ key }) => key.slice(0, key.lastIndexOf("!")));
  expect(moved).toEqual(["qnNb", "qnosplane!11", "qnstsw!iq12!111", "qntsw!ip11!1q!2"]);
});
