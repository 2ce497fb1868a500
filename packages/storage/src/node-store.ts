import type { Op, StorageBackend } from "./backend.ts";
import { corruption } from "./group-reader.ts";
import type { Damage, NodeRecord } from "./group-storage.ts";
import { decodeNode, encodeNode } from "./node-record.ts";
import { NODE_KEYS, quarantineOther } from "./store-keys.ts";

/** The node record; a damaged copy is moved aside and reported, the other one is used. */
export async function readNodeRecord(
  backend: StorageBackend,
  onDamage: (damage: Damage) => void,
): Promise<NodeRecord | undefined> {
  const values = await backend.getMany(NODE_KEYS);
  let whole: NodeRecord | undefined;
  const damaged: { key: string; value: Uint8Array; reason: string }[] = [];
  for (const [index, key] of NODE_KEYS.entries()) {
    const value = values[index];
    if (value === undefined) continue;
    try {
      const node = decodeNode(value, key);
      whole ??= node;
    } catch (error) {
      damaged.push({ key, value, reason: corruption(error) });
    }
  }
  for (const { key, value, reason } of damaged) {
    const ops: Op[] = [{ op: "put", key: quarantineOther(key, value), value }];
    ops.push(whole ? { op: "put", key, value: encodeNode(whole, key) } : { op: "del", key });
    await backend.write(ops, { sync: true });
    onDamage({ id: undefined, record: "node", action: whole ? "rebuilt" : "quarantined", reason });
  }
  return whole;
}

/** Synced: whether the last run was clean must not be decided by what a power cut left. */
export async function writeNodeRecord(backend: StorageBackend, record: NodeRecord): Promise<void> {
  const ops = NODE_KEYS.map((key): Op => ({ op: "put", key, value: encodeNode(record, key) }));
  await backend.write(ops, { sync: true });
}
