import { isKey, type Op, type StorageBackend } from "./backend.ts";
import { type CheckOptions, type CheckReport, checkStorage, type Finding } from "./check.ts";
import { throwIfAborted } from "./error.ts";
import { encodeGroupId, parseGroupId } from "./group-id.ts";
import { emptyRecord, generationOf, slotOf } from "./group-record.ts";
import { readSlots, wholeRecords } from "./group-records.ts";
import { createGroupStore } from "./group-store.ts";
import { rebuildRecords } from "./record-rebuild.ts";
import { StoreEngine } from "./store-engine.ts";
import { APART_SPACE, quarantineOther, recordKey } from "./store-keys.ts";
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
  const groups = new Map<string, Finding[]>();
  for (const finding of before.findings) {
    const { group, kind } = finding;
    throwIfAborted(options.signal);
    if (kind === "superseded" || (kind === "orphan" && group === undefined)) await moveAside(backend, finding);
    else if (group !== undefined && kind !== "quarantined") groups.set(group, [...(groups.get(group) ?? []), finding]);
  }
  for (const group of groups.keys()) await restoreRecord(backend, encodeGroupId(parseGroupId(group)));
  const store = createGroupStore(backend);
  await store.open();
  await store.readNode();
  // Looks at both records of every group.
  for await (const _ of store.listGroups({ deleted: true, ...(options.signal && { signal: options.signal }) }));
  const degraded: string[] = [];
  for (const [group, findings] of groups) {
    throwIfAborted(options.signal);
    const id = parseGroupId(group);
    await store.load(id);
    await repairGroup(backend, encodeGroupId(id), findings);
    if ((await store.row(id))?.degraded === true) degraded.push(group);
  }
  return { before, after: await checkStorage(backend, options), degraded };
}

/** Gives a group without records one, made from a body; what there is of a group without bodies belongs to none. */
async function restoreRecord(backend: StorageBackend, key: string): Promise<void> {
  const [slots] = await readSlots(new StoreEngine(backend), [key]);
  if (slots === undefined || slots.values.some((value) => value !== undefined)) return;
  const [newest] = await rebuildRecords(backend, key);
  if (newest === undefined) return await moveLeftovers(backend, key);
  // Reading the group then does the rest.
  await backend.write([{ op: "put", key: recordKey(key, slotOf(newest.generation)), value: newest.bytes }]);
}

async function moveLeftovers(backend: StorageBackend, key: string): Promise<void> {
  for await (const page of backend.scan({ prefix: APART_SPACE + key, values: false })) {
    for (const entry of page) await moveAside(backend, { place: entry.key });
  }
  for await (const page of backend.listLogs({ prefix: key })) {
    for (const { log, first } of page) await moveLog(backend, log, first);
  }
}

/** What loading a group does not look at: the body of its older generation, and what no record refers to. */
async function repairGroup(backend: StorageBackend, key: string, findings: readonly Finding[]): Promise<void> {
  const engine = new StoreEngine(backend);
  const [slots] = await readSlots(engine, [key]);
  const records = slots && wholeRecords(slots);
  if (records === undefined) return;
  const { newest, other, seed } = records;
  let hasLeftovers = false;
  for (const finding of findings) {
    const { kind, generation, epoch } = finding;
    if (kind === "orphan") {
      // Epochs of groups that live are odd.
      const isLeftover = epoch !== undefined && epoch < newest.epoch && epoch % 2 === 1;
      if (isLeftover) hasLeftovers = true;
      else await moveAside(backend, finding);
    } else if (kind === "snapshot" && epoch === newest.epoch && other && generation === generationOf(other)) {
      const empty = emptyRecord(seed, newest, { seq: newest.seq, isDegraded: newest.degraded });
      await moveAside(backend, finding, [{ op: "put", key: recordKey(key, slotOf(generation)), value: empty }]);
    }
  }
  if (hasLeftovers) await sweepGroup(engine, key);
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
  await backend.write(ops, { sync: true });
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
