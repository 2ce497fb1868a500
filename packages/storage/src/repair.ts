import { nextTurn } from "#platform";
import { isKey, type Op, type StorageBackend } from "./backend.ts";
import { claim, type Claimant, unclaim } from "./backend-claims.ts";
import { type CheckOptions, type CheckReport, checkStorage, findAll, type Finding, reportOf } from "./check.ts";
import { orDamaged, throwIfAborted } from "./error.ts";
import { encodeGroupId, parseGroupId } from "./group-id.ts";
import { decodeRecord, emptyRecord, generationOf, slotOf } from "./group-record.ts";
import { readSlots, wholeRecords } from "./group-records.ts";
import { createGroupStore } from "./group-store.ts";
import { rebuildRecords } from "./record-rebuild.ts";
import { StoreEngine } from "./store-engine.ts";
import {
  APART_SPACE,
  apartKey,
  parseApartKey,
  parseJournalLog,
  quarantineOther,
  recordKey,
  SLOTS,
  TAILS_KEY,
} from "./store-keys.ts";
import { sweepGroup } from "./sweep.ts";

export interface RepairReport {
  /** What was found before. */
  readonly before: CheckReport;
  /** What is found now: what it counts as damaged could not be repaired here. */
  readonly after: CheckReport;
  /** Groups, as text, that lost something and need their peers. */
  readonly degraded: readonly string[];
}

/**
 * Checks an open backend and repairs what can be repaired without peers: records are rebuilt, damaged ones are moved
 * aside (never deleted), groups fall back to their previous generation, leftovers of deleted epochs go. Groups that
 * lost something are marked degraded, and their node fetches the rest. Rejects with `LOCKED` while a store has the
 * backend open, and changes nothing then.
 */
export async function repairStorage(backend: StorageBackend, options: CheckOptions = {}): Promise<RepairReport> {
  const claimant: Claimant = { isCutOff: false };
  claim(backend, claimant);
  let before: CheckReport;
  let groups: Map<string, Finding[]>;
  try {
    before = await findAll(backend, options);
    // An engine that has mended its files may have brought the mark back that it had removed.
    await backend.write([{ op: "del", key: TAILS_KEY }]);
    groups = await moveStrays(backend, before.findings, options.signal);
    for (const group of groups.keys()) await restoreRecord(backend, encodeGroupId(parseGroupId(group)));
  } finally {
    unclaim(backend);
  }
  const degraded = await repairGroups(backend, groups, options.signal);
  return { before: reportOf(before), after: await checkStorage(backend, options), degraded };
}

/** Moves aside what is no group's; the findings of each group. */
async function moveStrays(
  backend: StorageBackend,
  findings: readonly Finding[],
  signal: AbortSignal | undefined,
): Promise<Map<string, Finding[]>> {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const { group, kind } = finding;
    throwIfAborted(signal);
    if (kind === "superseded" || (kind === "orphan" && group === undefined)) await moveAside(backend, finding);
    else if (group !== undefined && kind !== "quarantined") {
      const others = groups.get(group);
      if (others === undefined) groups.set(group, [finding]);
      else others.push(finding);
    }
  }
  return groups;
}

/** Has a store read everything that was found damaged, which repairs it; the groups that lost something. */
async function repairGroups(
  backend: StorageBackend,
  groups: ReadonlyMap<string, readonly Finding[]>,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const store = createGroupStore(backend);
  const degraded: string[] = [];
  try {
    await store.open();
    await store.readNode();
    // Looks at both records of every group.
    for await (const _ of store.listGroups({ deleted: true, ...(signal && { signal }) }));
    for (const [group, findings] of groups) {
      await nextTurn();
      throwIfAborted(signal);
      const id = parseGroupId(group);
      await store.load(id);
      await repairGroup(backend, encodeGroupId(id), findings);
      if ((await store.row(id))?.degraded === true) degraded.push(group);
    }
  } finally {
    await store.close();
    // It closes its backend, which the caller has open.
    await backend.open();
  }
  return degraded;
}

/** Gives a group without records one that is made from a body, if it has a whole one; reading the group does the rest. */
async function restoreRecord(backend: StorageBackend, key: string): Promise<void> {
  const [slots] = await readSlots(new StoreEngine(backend), [key]);
  if (slots === undefined || slots.values.some((value) => value !== undefined)) return;
  const [newest] = await rebuildRecords(backend, key);
  if (newest === undefined) return;
  await backend.write([{ op: "put", key: recordKey(key, slotOf(newest.generation)), value: newest.bytes }]);
}

/** What loading a group does not look at: the body of its older generation, and what no record refers to. */
async function repairGroup(backend: StorageBackend, key: string, findings: readonly Finding[]): Promise<void> {
  const engine = new StoreEngine(backend);
  const [slots] = await readSlots(engine, [key]);
  const records = slots && wholeRecords(slots);
  // Reading the group has made both records whole, or moved both aside.
  if (records === undefined) return await moveOrphans(backend, key, () => true);
  const { newest, other, seed } = records;
  const older = findings.find(({ kind, epoch, generation }) => {
    return kind === "snapshot" && epoch === newest.epoch && other && generation === generationOf(other);
  });
  if (older !== undefined && other !== undefined) {
    const empty = emptyRecord(seed, newest, { seq: newest.seq, isDegraded: newest.degraded });
    await moveAside(backend, older, [{ op: "put", key: recordKey(key, slotOf(generationOf(other))), value: empty }]);
  }
  // Epochs of groups that live are odd.
  await moveOrphans(backend, key, (epoch) => epoch > newest.epoch || epoch % 2 === 0);
  await moveUnused(backend, key, newest.epoch);
  await sweepGroup(engine, key);
}

/** Moves aside bodies and journals of a group, of epochs that it never had. */
async function moveOrphans(backend: StorageBackend, key: string, isOrphan: (epoch: number) => boolean): Promise<void> {
  for await (const page of backend.scan({ prefix: APART_SPACE + key, values: false })) {
    for (const { key: place } of page) {
      const parts = orDamaged(() => parseApartKey(place));
      if (parts !== undefined && isOrphan(parts.epoch)) await moveAside(backend, { place });
    }
  }
  for await (const page of backend.listLogs({ prefix: key })) {
    for (const { log, first } of page) {
      const parts = orDamaged(() => parseJournalLog(log));
      if (parts !== undefined && isOrphan(parts.epoch)) await moveLog(backend, log, first);
    }
  }
}

/** Moves aside the bodies of a group's epoch to which none of its records refers any more. */
async function moveUnused(backend: StorageBackend, key: string, epoch: number): Promise<void> {
  for (const slot of SLOTS) {
    const bytes = await backend.get(recordKey(key, slot));
    const record = bytes && orDamaged(() => decodeRecord(bytes, key, slot));
    const isUsed = record?.epoch === epoch && record.isApart && slotOf(record.generation) === slot;
    if (!isUsed) await moveAside(backend, { place: apartKey(key, epoch, slot) });
  }
}

/** Moves the value of a key, or a whole log, into quarantine. Rot can make a key that no caller can name: that stays. */
async function moveAside(
  backend: StorageBackend,
  { place, seq }: Pick<Finding, "place" | "seq">,
  more: readonly Op[] = [],
): Promise<void> {
  if (seq !== undefined) return await moveLog(backend, place.slice(0, place.lastIndexOf(" ")), seq);
  const value = isKey(place) ? await backend.get(place) : undefined;
  const ops: Op[] = [...more];
  if (value !== undefined) {
    ops.unshift({ op: "put", key: quarantineOther(place, value), value }, { op: "del", key: place });
  }
  if (ops.length > 0) await backend.write(ops, { sync: true });
}

async function moveLog(backend: StorageBackend, log: string, from: number): Promise<void> {
  if (!isKey(log)) return;
  for await (const page of backend.readLog(log, from)) {
    const ops = page.map(({ seq, value }): Op => {
      return { op: "put", key: quarantineOther(`${log}!${seq}`, value), value };
    });
    const [first, last] = [page[0]?.seq ?? 0, page.at(-1)?.seq ?? 0];
    await backend.write([...ops, { op: "truncate", log, from: first, upto: last + 1 }], { sync: true });
  }
}
