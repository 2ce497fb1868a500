import type { StorageBackend } from "./backend.ts";
import { compareAge, epochOf, GroupRecord, recordFault, recordSeed } from "./group-record.ts";
import type { StoreEngine } from "./store-engine.ts";
import { RECORD_SPACE, recordKey, SLOTS } from "./store-keys.ts";

/** The values in a group's two slots, as read. */
export interface SlotValues {
  readonly key: string;
  readonly values: readonly [Uint8Array | undefined, Uint8Array | undefined];
}

/** A group's records, both whole. */
export interface WholeRecords {
  readonly newest: GroupRecord;
  /** The other one, when it is of the same epoch. */
  readonly other: Uint8Array | undefined;
  /** What their seals start from, which does as a hash of the group. */
  readonly seed: number;
}

/**
 * The common case with the least work. Undefined when a record is missing or damaged: `readGroup` then finds out what
 * can be done about it.
 */
export function wholeRecords({ key, values: [first, second] }: SlotValues): WholeRecords | undefined {
  if (first === undefined || second === undefined) return undefined;
  const seed = recordSeed(key);
  if (recordFault(first, 0, seed) !== undefined || recordFault(second, 1, seed) !== undefined) return undefined;
  const [newest, other] = compareAge(first, second) > 0 ? [first, second] : [second, first];
  return {
    newest: new GroupRecord(key, newest),
    other: epochOf(other) === epochOf(newest) ? other : undefined,
    seed,
  };
}

export async function readSlots(engine: StoreEngine, keys: readonly string[]): Promise<SlotValues[]> {
  const values = await engine.getMany(keys.flatMap((key) => SLOTS.map((slot) => recordKey(key, slot))));
  return keys.map((key, index) => ({ key, values: [values[2 * index], values[2 * index + 1]] }));
}

/** Whether anything is stored of any group. */
export async function hasRecords(backend: StorageBackend): Promise<boolean> {
  for await (const _ of backend.scan({ prefix: RECORD_SPACE, values: false, limit: 1 })) return true;
  return false;
}

/** A page of a scan: the slots of its groups, and the keys that belong to none. */
export interface SlotsPage {
  readonly groups: readonly SlotValues[];
  readonly strays: readonly { readonly key: string; readonly value: Uint8Array }[];
}

/** The slots of all groups whose keys begin with `prefix`, in the order of their keys. */
export async function* scanSlots(
  backend: StorageBackend,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<SlotsPage> {
  let first: { readonly key: string; readonly value: Uint8Array } | undefined;
  const alone = (): SlotValues => ({ key: groupOf(first?.key ?? ""), values: [first?.value, undefined] });
  for await (const page of backend.scan({ prefix: RECORD_SPACE + prefix, ...(signal && { signal }) })) {
    const groups: SlotValues[] = [];
    const strays: { readonly key: string; readonly value: Uint8Array }[] = [];
    for (const entry of page) {
      const { key, value } = entry;
      const slot = key.charCodeAt(key.length - 1) - 48;
      if (slot === 1 && first !== undefined && isOther(key, first.key)) {
        groups.push({ key: groupOf(key), values: [first.value, value] });
        first = undefined;
        continue;
      }
      if (first !== undefined) groups.push(alone());
      first = slot === 0 ? entry : undefined;
      if (slot === 1) groups.push({ key: groupOf(key), values: [undefined, value] });
      else if (slot !== 0) strays.push(entry);
    }
    yield { groups, strays };
  }
  if (first !== undefined) yield { groups: [alone()], strays: [] };
}

/** Whether a key of slot 1 is of the same group as one of slot 0. */
function isOther(key: string, first: string): boolean {
  return key.length === first.length && key.startsWith(first.slice(0, -1));
}

function groupOf(key: string): string {
  return key.slice(RECORD_SPACE.length, -1);
}
