import type { Op, StorageBackend } from "./backend.ts";
import { type CheckOptions, type CheckReport, checkStorage, type Finding } from "./check.ts";
import { throwIfAborted } from "./error.ts";
import { encodeGroupId, parseGroupId } from "./group-id.ts";
import { emptyRecord, generationOf, slotOf } from "./group-record.ts";
import { readSlots, wholeRecords } from "./group-records.ts";
import { createGroupStore } from "./group-store.ts";
import { rebuildRecords } from "./record-rebuild.ts";
import { StoreEngine } from "./store-engine.ts";
import { parseApartKey, quarantineKey, recordKey } from "./store-keys.ts";
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
 * lost something are marked degraded, and their node fetches the rest. No store may be in use on the backend.
 */
export async function repairStorage(backend: StorageBackend, options: CheckOptions = {}): Promise<RepairReport> {
  const before = await checkStorage(backend, options);
  const groups = new Set<string>();
  for (const finding of before.findings) {
    throwIfAborted(options.signal);
    if (finding.group === undefined || finding.kind === "quarantined") continue;
    groups.add(finding.group);
    if (finding.reason.startsWith("there are no records")) await restoreRecord(backend, finding.group);
  }
  const store = createGroupStore(backend);
  await store.open();
  await store.readNode();
  // Looks at both records of every group.
  for await (const _ of store.listGroups({ deleted: true, ...(options.signal && { signal: options.signal }) }));
  const degraded: string[] = [];
  for (const group of groups) {
    throwIfAborted(options.signal);
    const id = parseGroupId(group);
    await store.load(id);
    const findings = before.findings.filter((finding) => finding.group === group);
    await repairGroup(backend, encodeGroupId(id), findings);
    if ((await store.row(id))?.degraded === true) degraded.push(group);
  }
  return { before, after: await checkStorage(backend, options), degraded };
}

async function restoreRecord(backend: StorageBackend, group: string): Promise<void> {
  const key = encodeGroupId(parseGroupId(group));
  const [newest] = await rebuildRecords(backend, key);
  if (newest === undefined) return;
  // Reading the group then does the rest.
  await backend.write([{ op: "put", key: recordKey(key, slotOf(newest.generation)), value: newest.bytes }]);
}

/** What loading a group does not look at: the body of its older generation, and what no record refers to. */
async function repairGroup(backend: StorageBackend, key: string, findings: readonly Finding[]): Promise<void> {
  const engine = new StoreEngine(backend);
  const [slots] = await readSlots(engine, [key]);
  const records = slots && wholeRecords(slots);
  if (records === undefined) return;
  const { newest, other, seed } = records;
  const ops: Op[] = [];
  for (const { kind, place, generation, epoch } of findings) {
    if (epoch !== newest.epoch) continue;
    if (kind === "orphan") ops.push(...(await moveAside(backend, key, place)));
    if (kind !== "snapshot" || other === undefined || generation !== generationOf(other)) continue;
    ops.push(...(await moveAside(backend, key, place)));
    const empty = emptyRecord(seed, newest, { seq: newest.seq, isDegraded: newest.degraded });
    ops.push({ op: "put", key: recordKey(key, slotOf(generation)), value: empty });
  }
  await backend.write(ops, { sync: true });
  if (findings.some(({ kind, epoch }) => kind === "orphan" && epoch !== newest.epoch)) await sweepGroup(engine, key);
}

async function moveAside(backend: StorageBackend, key: string, place: string): Promise<Op[]> {
  const value = await backend.get(place);
  if (value === undefined) return [];
  const { epoch, slot } = parseApartKey(place);
  return [
    { op: "put", key: quarantineKey(key, "s", epoch, slot, value), value },
    { op: "del", key: place },
  ];
}
