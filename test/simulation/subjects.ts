import { type MutatorOf, gCounter, lwwMap, lwwRegister, orMap, struct } from "@coppice/crdt";
import type { Note } from "./history.ts";
import { MORE_SUBJECTS } from "./more-subjects.ts";
import type { Random } from "./random.ts";
import type { Subject } from "./subject.ts";

export type { Subject } from "./subject.ts";

const KEYS = ["a", "b", "c", "d", "e"];
const progressType = struct({ counts: orMap(gCounter), position: orMap(lwwRegister<number>()), total: gCounter });
const deepType = struct({ words: orMap(gCounter), notes: lwwMap<number>(), inner: orMap(orMap(gCounter)) });
const wordsType = orMap(gCounter);
const notesType = lwwMap<number>();
const registerType = lwwRegister<number>();

const counter: Subject = {
  type: gCounter,
  write(mutator, random) {
    const value = 1 + random.int(9);
    (mutator as MutatorOf<typeof gCounter>).increment(value);
    return [{ op: "add", path: [], value }];
  },
  read: ({ sums }) => sums.get("") ?? 0,
};

const register: Subject = {
  type: registerType,
  write(mutator, random) {
    const value = random.int(1e6);
    (mutator as MutatorOf<typeof registerType>).set(value);
    return [{ op: "set", path: [], value }];
  },
  read: ({ writes }) => writes.get(""),
};

function writeWords(words: MutatorOf<typeof wordsType>, random: Random, path: readonly string[]): Note[] {
  const key = random.pick(KEYS);
  const kind = random.int(12);
  if (kind < 9) {
    const value = 1 + random.int(9);
    words.at(key).increment(value);
    return [{ op: "add", path: [...path, key], value }];
  }
  if (kind < 11) return words.delete(key) ? [{ op: "remove", path: [...path, key] }] : [];
  if (words.size === 0) return [];
  words.clear();
  return [{ op: "remove", path }];
}

function writeNotes(notes: MutatorOf<typeof notesType>, random: Random, path: readonly string[]): Note[] {
  const key = random.pick(KEYS);
  const kind = random.int(12);
  if (kind < 8) {
    const value = random.int(1e6);
    notes.set(key, value);
    return [{ op: "set", path: [...path, key], value }];
  }
  if (kind < 11) return notes.delete(key) ? [{ op: "remove", path: [...path, key] }] : [];
  if (notes.size === 0) return [];
  notes.clear();
  return [{ op: "remove", path }];
}

const words: Subject = {
  type: wordsType,
  write: (mutator, random) => several(random, () => writeWords(mutator as MutatorOf<typeof wordsType>, random, [])),
  read: ({ sums }) => under(sums, ""),
};

const notes: Subject = {
  type: notesType,
  write: (mutator, random) => several(random, () => writeNotes(mutator as MutatorOf<typeof notesType>, random, [])),
  read: ({ writes }) => under(writes, ""),
};

/** Counted amounts and the position that they stand for, in one batch: they must never be seen apart. */
const progress: Subject = {
  type: progressType,
  write(mutator, random, process) {
    const { counts, position, total } = mutator as MutatorOf<typeof progressType>;
    const amount = 1 + random.int(9);
    const value = (position.get(process) ?? 0) + amount;
    counts.at(process).increment(amount);
    position.at(process).set(value);
    total.increment(amount);
    return [
      { op: "add", path: ["counts", process], value: amount },
      { op: "set", path: ["position", process], value },
      { op: "add", path: ["total"], value: amount },
    ];
  },
  read: ({ sums, writes }) => ({
    counts: under(sums, "counts/"),
    position: under(writes, "position/"),
    total: sums.get("total") ?? 0,
  }),
  invariant(value) {
    const { counts, position, total } = value as {
      counts: Record<string, number>;
      position: Record<string, number>;
      total: number;
    };
    let sum = 0;
    for (const [key, count] of Object.entries(counts)) {
      sum += count;
      if (position[key] !== count) return `${key} is at position ${position[key]} and has counted ${count}`;
    }
    return sum === total ? undefined : `the counts add up to ${sum}, the total is ${total}`;
  },
};

const deep: Subject = {
  type: deepType,
  write(mutator, random) {
    const { words: inWords, notes: inNotes, inner } = mutator as MutatorOf<typeof deepType>;
    return several(random, () => {
      const kind = random.int(4);
      if (kind === 0) return writeWords(inWords, random, ["words"]);
      if (kind === 1) return writeNotes(inNotes, random, ["notes"]);
      const key = random.pick(KEYS);
      if (kind === 2) return inner.delete(key) ? [{ op: "remove", path: ["inner", key] }] : [];
      return writeWords(inner.at(key), random, ["inner", key]);
    });
  },
  read: ({ sums, writes }) => {
    const inner: Record<string, unknown> = {};
    for (const key of KEYS) {
      const child = under(sums, `inner/${key}/`);
      if (Object.keys(child).length > 0) inner[key] = child;
    }
    return { words: under(sums, "words/"), notes: under(writes, "notes/"), inner };
  },
};

/** Every type that is simulated, by a short name. */
export const SUBJECTS: ReadonlyMap<string, Subject> = new Map(
  Object.entries({ counter, register, words, notes, progress, deep, ...MORE_SUBJECTS }),
);

function several(random: Random, write: () => Note[]): Note[] {
  return Array.from({ length: 1 + random.int(3) }, write).flat();
}

/** The entries directly under a path. */
function under<Item>(entries: ReadonlyMap<string, Item>, prefix: string): Record<string, Item> {
  const found: Record<string, Item> = {};
  for (const [path, item] of entries) {
    if (path.startsWith(prefix) && !path.slice(prefix.length).includes("/")) found[path.slice(prefix.length)] = item;
  }
  return found;
}

/** Plain data with its keys in order: equal text means equal values. */
export function plain(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
