import { type AnyCrdtType, builtinTypes } from "@coppice/crdt";
import { type CatalogueRow, type Damage, type GroupStorage, createGroupStore, formatGroupId } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ServerError } from "../error.ts";

/** Something that did not pass its check. */
export interface Finding {
  /** The group in its text form, empty for what belongs to none. */
  readonly id: string;
  readonly record: Damage["record"] | "state" | "type";
  readonly reason: string;
}

export interface VerifyReport {
  readonly groups: number;
  /** Events of the readable journals' and snapshots' vectors. */
  readonly events: number;
  readonly findings: number;
}

export interface VerifyOptions {
  readonly onFinding?: (finding: Finding) => void;
  readonly signal?: AbortSignal;
}

/**
 * Reads every stored group of a node that does not run. Damaged records are quarantined, as a start would do; nothing
 * else changes. Fails with `LOCKED` while a node has the directory open, and `INVALID_OPTIONS` where none ever had.
 */
export async function verifyDirectory(data: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const found = await stat(join(data, "db")).catch(() => undefined);
  if (found === undefined) throw new ServerError("INVALID_OPTIONS", `${data} is no data directory of a node`);
  let findings = 0;
  const tell = (finding: Finding): void => {
    findings++;
    options.onFinding?.(finding);
  };
  const onDamage = ({ id, record, reason }: Damage): void => {
    tell({ id: id === undefined ? "" : formatGroupId(id), record, reason });
  };
  const storage = createGroupStore(levelStorage(data), { onDamage });
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  await storage.open(signal);
  try {
    let groups = 0;
    let events = 0;
    for await (const page of storage.listGroups(signal)) {
      for (const row of page) {
        options.signal?.throwIfAborted();
        groups++;
        events += await verifyGroup(storage, row, tell);
      }
    }
    return { groups, events, findings };
  } finally {
    await storage.close();
  }
}

const TYPES: ReadonlyMap<string, AnyCrdtType> = new Map(builtinTypes.map((type) => [type.name, type]));

async function verifyGroup(
  storage: GroupStorage,
  row: CatalogueRow,
  tell: (finding: Finding) => void,
): Promise<number> {
  const id = formatGroupId(row.id);
  const type = TYPES.get(row.type);
  if (type === undefined) tell({ id, record: "type", reason: `this version has no type ${row.type}` });
  try {
    const stored = await storage.load(row.id);
    const body = stored?.snapshot?.body;
    if (type !== undefined && body !== undefined) type.decode(body);
    return row.vector.total() + (stored?.records ?? []).reduce((sum, { count }) => sum + count, 0);
  } catch (error) {
    tell({ id, record: "state", reason: error instanceof Error ? error.message : String(error) });
    return 0;
  }
}
