/** What runs in the page: the built packages, over IndexedDB. The test calls it by name. */
import {
  checkStorage,
  createGroupStore,
  createMemoryNetwork,
  createNode,
  type Damage,
  exportGroups,
  gCounter,
  type GroupMeta,
  type GroupSnapshot,
  type GroupStorage,
  importGroups,
  inspectGroups,
  lwwMap,
  type Node,
  orMap,
  type StorageBackend,
  StorageError,
  struct,
  VersionVector,
} from "coppice";
import { levelStorage } from "coppice/level";
import { libp2pTransport } from "coppice/libp2p";
import { backendSuite } from "@coppice/storage/testing";
import { startTab } from "docs/network.md";

/** A stored group as the test compares it; bytes as what {@link fingerprint} makes of them. */
export interface PageGroup {
  readonly id: unknown;
  readonly type: string;
  readonly body: string | undefined;
  readonly records: string[];
  readonly nextPosition: number;
  readonly damage: readonly string[];
  readonly degraded: boolean;
}

/** What the store that was opened last found damaged. */
let found: Damage[] = [];

const suite = new Map<string, () => Promise<void>>();
let places = 0;
backendSuite({
  describe: (_, body) => body(),
  it: (name, body) => void suite.set(name, body),
  name: "IndexedDB",
  async create() {
    const place = `suite-${places++}-${crypto.randomUUID()}`;
    return { backend: levelStorage(place), another: () => levelStorage(place) };
  },
});

function meta(id: string, events: number): GroupMeta {
  const vector = new VersionVector(events === 0 ? [] : [["a1".repeat(16) as never, events]]);
  return { id, type: "t", epoch: 1, vector, frontier: [], time: 1000 + events, digest: [events, 1] };
}

function snapshot(id: string, events: number, body: Uint8Array): GroupSnapshot {
  return { ...meta(id, events), journalPosition: events, body };
}

const bytes = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (seed + (index >> 3)) & 255);

/** Length and FNV-1a hash. */
function fingerprint(value: Uint8Array): string {
  return `${value.length} ${value.reduce((hash, byte) => Math.imul(hash ^ byte, 16_777_619), 2_166_136_261)}`;
}

/** Two generations of a snapshot and events behind them, for bodies below and above what is compressed. */
async function fill(store: GroupStorage): Promise<void> {
  for (const [id, length] of [
    ["small", 10],
    ["large", 20_000],
  ] as const) {
    await store.commit({ created: [meta(id, 0)] });
    for (let event = 0; event < 6; event++) {
      const record = { id, epoch: 1, position: event, count: 1, bytes: bytes(length, event) };
      await store.commit({ records: [record] }, { sync: true });
      if (event === 1 || event === 3)
        await store.commit({ snapshots: [snapshot(id, event + 1, bytes(length, event))] });
    }
  }
}

async function read(store: GroupStorage): Promise<PageGroup[]> {
  const groups: PageGroup[] = [];
  for await (const page of store.listGroups()) {
    for (const { id } of page) {
      const group = await store.load(id);
      if (group === undefined) continue;
      groups.push({
        id,
        type: group.row.type,
        body: group.snapshot && fingerprint(group.snapshot.body),
        records: group.records.map((record) => fingerprint(record.bytes)),
        nextPosition: group.nextPosition,
        damage: found.filter((damage) => damage.id === id).map(({ record, action }) => `${record} ${action}`),
        degraded: group.row.degraded,
      });
    }
  }
  return groups;
}

async function withStore<Result>(place: string, use: (store: GroupStorage) => Promise<Result>): Promise<Result> {
  found = [];
  const store = createGroupStore(levelStorage(place), { onDamage: (damage) => void found.push(damage) });
  await store.open();
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

const notes = lwwMap<string>();
const words = struct({ words: orMap(gCounter), total: gCounter });
const types = [notes, words];
let held: GroupStorage | undefined;
let filled: StorageBackend | undefined;

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("the replicas did not become equal");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function startNode(place: string, network: ReturnType<typeof createMemoryNetwork>): Promise<Node> {
  const transport = network.transport(place);
  return await createNode({ types, transport, storage: levelStorage(place), syncIntervalMs: 200, heartbeatMs: 100 });
}

const api = {
  suiteNames: async (): Promise<string[]> => [...suite.keys()],

  async runSuiteTest(name: string): Promise<void> {
    const body = suite.get(name);
    if (body === undefined) throw new Error(`the suite has no test ${name}`);
    await body();
  },

  fill: async (place: string): Promise<void> => await withStore(place, fill),

  read: async (place: string): Promise<PageGroup[]> => await withStore(place, read),

  /** Flips a bit in the newest snapshot of every group, below the store. */
  async damage(place: string): Promise<number> {
    await using backend = levelStorage(place);
    await backend.open();
    let damaged = 0;
    for await (const { snapshots } of inspectGroups(backend)) {
      const newest = Math.max(...snapshots.map(({ generation }) => generation ?? 0));
      // All of it: a body that lies apart from its record has what the record says, too.
      for (const { key } of snapshots.filter(({ generation }) => generation === newest)) {
        const value = await backend.get(key);
        if (value === undefined) throw new Error(`there is nothing at ${key}`);
        const middle = value.length >> 1;
        value[middle] = (value[middle] ?? 0) ^ 1;
        await backend.write([{ op: "put", key, value }]);
      }
      damaged++;
    }
    return damaged;
  },

  async check(place: string): Promise<{ damaged: number; groups: number }> {
    await using backend = levelStorage(place);
    await backend.open();
    const { damaged, groups } = await checkStorage(backend);
    return { damaged, groups };
  },

  /** Opens a store and keeps it open. Returns the code of the error, if it fails, and its message. */
  async hold(place: string): Promise<string> {
    const store = createGroupStore(levelStorage(place));
    try {
      await store.open();
    } catch (error) {
      return error instanceof StorageError ? `${error.code} ${error.message}` : String(error);
    }
    held = store;
    return "open";
  },

  async release(): Promise<void> {
    await held?.close();
  },

  /** Writes random values until that fails, or `valuesMax` are there; the backend stays open. */
  async fillUp(place: string, valuesMax: number): Promise<{ written: number; code: unknown; message: string }> {
    filled ??= levelStorage(place);
    await filled.open();
    const value = crypto.getRandomValues(new Uint8Array(60_000));
    for (let written = 0; written < valuesMax; written++) {
      try {
        await filled.write([{ op: "put", key: `k${written}`, value }]);
      } catch (error) {
        const { code, message } = error as StorageError;
        return { written, code, message };
      }
    }
    return { written: valuesMax, code: undefined, message: "" };
  },

  /** How many of the values of `fillUp` are whole. */
  async countFilled(): Promise<number> {
    let count = 0;
    for await (const page of filled?.scan() ?? []) count += page.filter(({ value }) => value.length === 60_000).length;
    return count;
  },

  async closeFilled(): Promise<void> {
    await filled?.close();
    filled = undefined;
  },

  async export(place: string): Promise<string> {
    return await withStore(place, async (store) => {
      const chunks: string[] = [];
      for await (const chunk of exportGroups(store)) chunks.push(chunk.join());
      return chunks.join();
    });
  },

  async import(place: string, exported: string): Promise<number> {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield Uint8Array.from(exported.split(","), Number);
    }
    return await withStore(place, async (store) => (await importGroups(store, chunks())).imported);
  },

  /** Two nodes write, become equal, and close; returns the value that both have. */
  async replicate(places: [string, string]): Promise<unknown> {
    const network = createMemoryNetwork();
    const [a, b] = [await startNode(places[0], network), await startNode(places[1], network)];
    await b.connect(`memory:/${places[0]}`);
    const [ofA, ofB] = [await a.open(["w", 1], words), await b.open(["w", 1], words)];
    const written = ["tree", "leaf", "tree"].flatMap((word) =>
      [ofA, ofB].map((replica) =>
        replica.mutate((group) => {
          group.words.at(word).increment(1);
          group.total.increment(1);
        }),
      ),
    );
    await Promise.all(written);
    const note = await a.open("notes", notes);
    await note.mutate((map) => map.set("kept", "yes"), { ack: { replicas: 1 } });
    await until(() => ofA.value().total === 6 && ofB.digest() === ofA.digest());
    const value = ofB.value();
    await Promise.all([a.close(), b.close()]);
    return value;
  },

  /** Counts a word, on a node without a network or with a peer; with one, until both have counted `total`. */
  async count(place: string, word: string, peer?: string, total = 0): Promise<unknown> {
    const network = peer === undefined ? {} : { transport: libp2pTransport({ peers: [peer] }) };
    await using node = await createNode({ types, storage: levelStorage(place), ...network });
    const replica = await node.open(["w", 1], words);
    await replica.mutate((group) => {
      group.words.at(word).increment(1);
      group.total.increment(1);
    });
    await until(() => (replica.value().total ?? 0) >= total);
    if (peer !== undefined) await replica.mutate((group) => group.total.increment(1), { ack: { replicas: 1 } });
    return replica.value();
  },

  /** Starts a node as docs/network.md shows for several tabs, and keeps it open; returns the ids of its groups. */
  async startTab(peer: string): Promise<{ readonly id: string; readonly notes: unknown }> {
    const node = await startTab(types, [peer]);
    const note = await node.open("tabs", notes);
    await note.synced();
    await note.mutate((map) => map.set(node.id, "was here"), { ack: { replicas: 1 } });
    return { id: node.id, notes: note.value() };
  },

  /** Why a peer cannot be reached. */
  async dial(address: string): Promise<string> {
    await using node = await createNode({ types, transport: libp2pTransport() });
    return await node.connect(address).then(String, (error: Error) => error.message);
  },

  /** Starts a node alone on what is stored, recovers every group, and returns what it has. */
  async recover(place: string): Promise<unknown> {
    await using node = await createNode({ types, storage: levelStorage(place) });
    const { recovered, degraded, failed, events } = await node.recover();
    const group = await node.open(["w", 1], words);
    const note = await node.open("notes", notes);
    const counts = { recovered, degraded: degraded.length, failed: failed.length, events };
    return { ...counts, value: group.value(), notes: note.value() };
  },
};

export type PageApi = typeof api;

declare global {
  var coppice: PageApi | undefined;
}

globalThis.coppice = api;
