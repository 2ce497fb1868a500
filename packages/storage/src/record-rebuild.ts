import type { StorageBackend } from "./backend.ts";
import { orDamaged } from "./error.ts";
import { decodeApart, type GroupRecord, recordOfApart } from "./group-record.ts";
import { APART_SPACE, parseApartKey } from "./store-keys.ts";

/** A group's records made anew from the whole snapshots that lie apart; the newest comes first. */
export async function rebuildRecords(backend: StorageBackend, key: string): Promise<GroupRecord[]> {
  const found: GroupRecord[] = [];
  for await (const page of backend.scan({ prefix: APART_SPACE + key })) {
    for (const entry of page) {
      const apart = orDamaged(() => decodeApart(entry.value, key, parseApartKey(entry.key)));
      if (apart !== undefined) found.push(recordOfApart(apart));
    }
  }
  return found.sort((a, b) => b.epoch - a.epoch || b.generation - a.generation);
}
