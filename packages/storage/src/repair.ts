import type { Op, StorageBackend } from "./backend.ts";
import { decodeRow, encodeRow, NO_MARK, type StoredRow } from "./catalogue-row.ts";
import { type CheckOptions, type CheckReport, checkStorage, type Finding, parseSnapshotKey } from "./check.ts";
import { throwIfAborted } from "./error.ts";
import { encodeGroupId, parseGroupId } from "./group-id.ts";
import { createGroupStore } from "./group-store.ts";
import { rebuildRow } from "./row-rebuild.ts";
import { copyKey, quarantineKey, rowKey } from "./store-keys.ts";
import { StoreEngine } from "./store-engine.ts";
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
 * Checks an open backend and repairs what can be repaired without peers: rows are rebuilt, damaged records are moved
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
    if (finding.kind === "catalogue" && finding.reason.startsWith("there is no row"))
      await restoreRow(backend, finding);
  }
  const store = createGroupStore(backend);
  await store.open();
  await store.readNode();
  const degraded: string[] = [];
  for (const group of groups) {
    throwIfAborted(options.signal);
    const id = parseGroupId(group);
    // The row first: loading a group does not read the row of a deleted one.
    await store.row(id);
    await store.load(id);
    const findings = before.findings.filter((finding) => finding.group === group);
    await repairGroup(backend, encodeGroupId(id), findings);
    if ((await store.row(id))?.degraded === true) degraded.push(group);
  }
  return { before, after: await checkStorage(backend, options), degraded };
}

async function restoreRow(backend: StorageBackend, { group = "" }: Finding): Promise<void> {
  const key = encodeGroupId(parseGroupId(group));
  const row = await rebuildRow(backend, key);
  if (row === undefined) return;
  await backend.write([{ op: "put", key: rowKey(key), value: encodeRow(row, rowKey(key)) }], { sync: true });
}

/** What loading a group does not look at: its older generation, its row's copy, what no row knows. */
async function repairGroup(backend: StorageBackend, key: string, findings: readonly Finding[]): Promise<void> {
  const bytes = await backend.get(rowKey(key));
  if (bytes === undefined) return;
  let row = decodeRow(bytes, rowKey(key));
  const ops: Op[] = [];
  for (const { kind, place, generation, epoch } of findings) {
    if (kind === "copy") ops.push(...replaceCopy(row, key, place));
    else if (kind === "snapshot" && generation === row.previous.generation && epoch === row.meta.epoch) {
      ops.push(...(await moveAside(backend, key, place)));
      row = { ...row, previous: NO_MARK };
      ops.push({ op: "put", key: rowKey(key), value: encodeRow(row, rowKey(key)) });
    } else if (kind === "orphan" && generation !== undefined && epoch === row.meta.epoch) {
      ops.push(...(await moveAside(backend, key, place)));
    }
  }
  await backend.write(ops, { sync: true });
  if (findings.some(({ kind, epoch }) => kind === "orphan" && epoch !== row.meta.epoch)) {
    await sweepGroup(new StoreEngine(backend), key);
  }
}

function replaceCopy(row: StoredRow, key: string, place: string): Op[] {
  if (row.previous.generation > 0) return [{ op: "del", key: place }];
  return [{ op: "put", key: place, value: encodeRow(row, copyKey(key)) }];
}

async function moveAside(backend: StorageBackend, key: string, place: string): Promise<Op[]> {
  const value = await backend.get(place);
  if (value === undefined) return [];
  const { epoch, generation } = parseSnapshotKey(place);
  return [
    { op: "put", key: quarantineKey(key, "s", epoch, generation, value), value },
    { op: "del", key: place },
  ];
}
