import { isKey, type Op } from "./backend.ts";
import { orDamaged } from "./error.ts";
import { decodeUint } from "./group-id.ts";
import { readSlots, wholeRecords } from "./group-records.ts";
import type { StoreEngine } from "./store-engine.ts";
import { APART_SPACE, parseJournalLog, QUARANTINE_SPACE, sweepKey } from "./store-keys.ts";

/** Records removed by one write, so that a long journal does not block the event loop. */
const CHUNK = 1000;

/**
 * Removes what is left of a group's epochs below the one in its records: snapshots, journals, quarantined records.
 * The records are the commit point of a deletion, so this can be cut short and done again at any time.
 */
export async function sweepGroup(engine: StoreEngine, key: string): Promise<void> {
  const [slots] = await readSlots(engine, [key]);
  const records = slots && wholeRecords(slots);
  // Records that cannot be read do not say what may go. The marker stays; they are repaired when they are next used.
  if (records === undefined) return;
  const { epoch } = records.newest;
  for await (const page of engine.backend.listLogs({ prefix: key })) {
    for (const { log, first, last } of page) {
      const found = orDamaged(() => parseJournalLog(log).epoch);
      if (found === undefined || found >= epoch) continue;
      for (let from = first; from <= last; from += CHUNK) {
        await engine.write([{ op: "truncate", log, from, upto: Math.min(from + CHUNK, last + 1) }]);
      }
    }
  }
  await sweepKeys(engine, APART_SPACE + key, 0, epoch);
  // The kind of a quarantined record stands before its epoch.
  await sweepKeys(engine, QUARANTINE_SPACE + key, 1, epoch);
  await engine.write([{ op: "del", key: sweepKey(key) }]);
}

async function sweepKeys(engine: StoreEngine, prefix: string, skip: number, epoch: number): Promise<void> {
  for await (const page of engine.backend.scan({ prefix, values: false })) {
    const ops: Op[] = [];
    for (const { key } of page) {
      const found = orDamaged(() => decodeUint(key, prefix.length + skip).value);
      if (found !== undefined && found < epoch && isKey(key)) ops.push({ op: "del", key });
    }
    await engine.write(ops);
  }
}
