import type { StorageBackend } from "./backend.ts";
import { decodeRow, NO_MARK, type StoredRow } from "./catalogue-row.ts";
import { StorageError } from "./error.ts";
import { decodeSnapshot, type SnapshotRecord } from "./snapshot-record.ts";
import { copyKey, journalLog, QUARANTINE_SPACE, SNAPSHOT_SPACE } from "./store-keys.ts";

interface Found {
  readonly record: SnapshotRecord;
  readonly bytes: number;
}

/**
 * A catalogue row made anew from the headers of the whole snapshots of the highest epoch, or from the row's copy;
 * undefined when there is neither.
 */
export async function rebuildRow(backend: StorageBackend, key: string): Promise<StoredRow | undefined> {
  const copy = await readCopy(backend, key);
  const found = await wholeSnapshots(backend, key);
  const epoch = Math.max(copy?.meta.epoch ?? 0, ...found.map(({ record }) => record.meta.epoch));
  const [newest, previous] = found
    .filter(({ record }) => record.meta.epoch === epoch)
    .sort((a, b) => b.record.mark.generation - a.record.mark.generation);
  if (newest === undefined) return copy;
  const { meta, mark, takenAt } = newest.record;
  return {
    meta,
    snapshotBytes: newest.bytes,
    snapshotAt: takenAt,
    degraded: await hasQuarantine(backend, key),
    // Above every number in use, also above a damaged newer one: that one is then never overwritten.
    generations: mark.generation + 1,
    newest: mark,
    previous: previous?.record.mark ?? NO_MARK,
    logStart: await firstOf(backend, journalLog(key, epoch)),
  };
}

async function readCopy(backend: StorageBackend, key: string): Promise<StoredRow | undefined> {
  const bytes = await backend.get(copyKey(key));
  return bytes === undefined ? undefined : orDamaged(() => decodeRow(bytes, copyKey(key)));
}

async function wholeSnapshots(backend: StorageBackend, key: string): Promise<Found[]> {
  const found: Found[] = [];
  for await (const page of backend.scan({ prefix: SNAPSHOT_SPACE + key })) {
    for (const entry of page) {
      const record = orDamaged(() => decodeSnapshot(entry.value, entry.key));
      if (record !== undefined) found.push({ record, bytes: entry.value.length });
    }
  }
  return found;
}

function orDamaged<Result>(decode: () => Result): Result | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof StorageError && error.code === "CORRUPT") return undefined;
    throw error;
  }
}

async function hasQuarantine(backend: StorageBackend, key: string): Promise<boolean> {
  for await (const page of backend.scan({ prefix: QUARANTINE_SPACE + key, values: false, limit: 1 })) {
    return page.length > 0;
  }
  return false;
}

async function firstOf(backend: StorageBackend, log: string): Promise<number> {
  for await (const page of backend.listLogs({ prefix: log })) {
    for (const range of page) if (range.log === log) return range.first;
  }
  return 0;
}
