import { type Actor, actorFromBytes, VersionVector } from "@coppice/crdt";
import type { StorageBackend } from "./backend.ts";
import type { GroupId } from "./group-id.ts";
import type { Damage, GroupMeta, GroupSnapshot, GroupStorage, JournalRecord } from "./group-storage.ts";
import { createGroupStore } from "./group-store.ts";
import type { GroupStoreOptions } from "./group-store-options.ts";
import { memoryStorage } from "./memory.ts";

export const ALICE: Actor = actorFromBytes(new Uint8Array(16).fill(0xa1));
export const BOB: Actor = actorFromBytes(new Uint8Array(16).fill(0xb0));

/** What is known of a group after `seq` events of Alice. */
export function meta(id: GroupId, seq = 0, epoch = 1): GroupMeta {
  const vector = new VersionVector(seq > 0 ? [[ALICE, seq]] : []);
  return {
    id,
    type: "counter",
    epoch,
    vector,
    frontier: seq > 0 ? [ALICE] : [],
    time: 1000 + seq,
    digest: [seq, epoch],
  };
}

export function snapshot(id: GroupId, seq: number, position = seq, epoch = 1): GroupSnapshot {
  return { ...meta(id, seq, epoch), journalPosition: position, body: new TextEncoder().encode(`state ${seq}`) };
}

export function record(id: GroupId, position: number, count = 1, epoch = 1): JournalRecord {
  return { id, epoch, position, count, bytes: new TextEncoder().encode(`events ${position}+${count}`) };
}

export interface Opened {
  readonly store: GroupStorage;
  readonly backend: StorageBackend;
  readonly damage: Damage[];
}

export async function openStore(
  backend: StorageBackend = memoryStorage(),
  options: GroupStoreOptions = {},
): Promise<Opened> {
  const damage: Damage[] = [];
  const store = createGroupStore(backend, {
    now: () => 1_800_000_000_000,
    onDamage: (item) => damage.push(item),
    ...options,
  });
  await store.open();
  return { store, backend, damage };
}

export async function collect<Item>(pages: AsyncIterable<readonly Item[]>): Promise<Item[]> {
  const items: Item[] = [];
  for await (const page of pages) items.push(...page);
  return items;
}

/** Everything in a backend, as text, to compare it before and after. */
export async function dump(backend: StorageBackend): Promise<string[]> {
  const lines: string[] = [];
  for (const { key, value } of await collect(backend.scan()))
    lines.push(`${key} ${Buffer.from(value).toString("hex")}`);
  for (const { log } of await collect(backend.listLogs())) {
    for (const { seq, value } of await collect(backend.readLog(log, 0))) {
      lines.push(`${log} ${seq} ${Buffer.from(value).toString("hex")}`);
    }
  }
  return lines;
}
