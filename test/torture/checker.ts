import type { Kind, Level, Write } from "./ledger.ts";

/** What a node says of a group at the end. */
export interface GroupState {
  readonly digest: string;
  readonly contentHash: string;
  readonly value: unknown;
}

export type NodeStates = ReadonlyMap<Kind, GroupState>;

/** Acknowledgements after which a write survives a kill. */
const LASTING: readonly (Level | undefined)[] = ["log", "sync", "durable-replica"];

/** What came of a chapter. */
export interface Verdict {
  readonly acknowledged: number;
  readonly lasting: number;
  readonly problems: readonly string[];
}

/**
 * Holds the final states of all nodes against what their programs noted. Knows nothing of how Coppice works: what was
 * acknowledged is there, what nobody wrote is not, and all nodes say the same.
 */
export function check(writes: readonly Write[], nodes: ReadonlyMap<string, NodeStates>): Verdict {
  const problems: string[] = [];
  const [first, ...others] = nodes;
  if (first === undefined) return { acknowledged: 0, lasting: 0, problems: ["no node is left"] };
  const [firstName, states] = first;
  for (const [name, theirs] of others) {
    for (const [kind, ours] of states) {
      const their = theirs.get(kind);
      for (const part of ["digest", "contentHash", "value"] as const) {
        const [a, b] = [plain(ours[part]), plain(their?.[part])];
        if (a !== b)
          problems.push(`${kind}: the ${part} of ${firstName} and ${name} differ: ${clip(a)} and ${clip(b)}`);
      }
    }
  }
  for (const [kind, { value }] of states) {
    const own = writes.filter(({ wish }) => wish.kind === kind);
    problems.push(...CHECKS[kind](own, value).map((problem) => `${kind}: ${problem}`));
  }
  const acknowledged = writes.filter(({ level }) => level !== undefined).length;
  return { acknowledged, lasting: writes.filter(isLasting).length, problems };
}

function isLasting({ level }: Write): boolean {
  return LASTING.includes(level);
}

type Check = (writes: readonly Write[], value: unknown) => string[];

const CHECKS: Readonly<Record<Kind, Check>> = {
  map: (writes, value) => checkKeys(writes, Object.entries(value as Record<string, unknown>)),
  book(writes, value) {
    const { entries, count } = value as { entries: Record<string, unknown>; count: number };
    const keys = Object.entries(entries);
    const problems = checkKeys(writes, keys);
    // The entry and the count were written in one batch.
    if (count !== keys.length) problems.push(`${keys.length} entries, but a count of ${count}`);
    return problems;
  },
  log(writes, value) {
    const entries = value as readonly string[];
    const problems = checkKeys(
      writes,
      entries.map((key) => [key, key] as const),
    );
    if (new Set(entries).size !== entries.length) problems.push("an entry stands twice");
    return problems;
  },
  total: (writes, value) => checkAmount("", writes, Number(value)),
  words(writes, value) {
    const amounts = value as Record<string, number>;
    const keys = new Set([...Object.keys(amounts), ...writes.map(keyOf)]);
    return [...keys].flatMap((key) =>
      checkAmount(
        key,
        writes.filter((write) => keyOf(write) === key),
        amounts[key] ?? 0,
      ),
    );
  },
  set: checkSet,
};

function keyOf({ wish }: Write): string {
  return "key" in wish ? wish.key : "";
}

/** Each key is written once, by one program, with the key as its value. */
function checkKeys(writes: readonly Write[], entries: readonly (readonly [string, unknown])[]): string[] {
  const problems: string[] = [];
  const present = new Map(entries);
  const wished = new Set(writes.map(keyOf));
  for (const write of writes) {
    if (isLasting(write) && !present.has(keyOf(write))) problems.push(`${lost(write)}`);
  }
  for (const [key, value] of entries) {
    if (!wished.has(key)) problems.push(`nobody wrote ${key}`);
    else if (value !== key) problems.push(`${key} reads ${plain(value)}`);
  }
  return problems;
}

/** At least all that was acknowledged, at most all that was asked for. */
function checkAmount(key: string, writes: readonly Write[], amount: number): string[] {
  const sum = (some: readonly Write[]): number =>
    some.reduce((total, { wish }) => total + ("amount" in wish ? wish.amount : 0), 0);
  const [least, most] = [sum(writes.filter(isLasting)), sum(writes)];
  if (amount >= least && amount <= most) return [];
  return [`${key || "it"} counts ${amount}; ${least} were acknowledged, ${most} asked for`];
}

/** An element is added once and removed at most once, afterwards, by the program that added it. */
function checkSet(writes: readonly Write[], value: unknown): string[] {
  const problems: string[] = [];
  const present = new Set(value as string[]);
  const added = new Map<string, Write>();
  const removed = new Map<string, Write>();
  for (const write of writes) {
    if (write.wish.kind === "set") (write.wish.remove ? removed : added).set(write.wish.key, write);
  }
  for (const key of present) if (!added.has(key)) problems.push(`nobody added ${key}`);
  for (const [key, write] of added) {
    if (isLasting(write) && !removed.has(key) && !present.has(key)) problems.push(lost(write));
  }
  for (const [key, write] of removed) if (isLasting(write) && present.has(key)) problems.push(`${key} is back again`);
  return problems;
}

function lost(write: Write): string {
  return `${keyOf(write)}, acknowledged to ${write.process} at level ${write.level}, is lost`;
}

function clip(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

/** The same text for equal values: the order of keys is each node's own. */
function plain(value: unknown): string {
  return String(
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    ),
  );
}
