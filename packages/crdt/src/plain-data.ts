import type { FlagMutator } from "./flag.ts";
import type { AnyNestableType, NestedMutator } from "./kernel/kernel-type.ts";
import type { LwwMapMutator } from "./lww-map.ts";
import type { LwwRegisterMutator } from "./lww-register.ts";
import type { MvRegisterMutator } from "./mv-register.ts";
import type { OrLogMutator } from "./or-log.ts";
import type { OrMapMutator } from "./or-map.ts";
import type { OrSetMutator } from "./or-set.ts";
import type { PnCounterMutator } from "./pn-counter.ts";
import type { NewTreeNode, TreeMutator } from "./tree.ts";
import type { ValueOf } from "./type.ts";
import type { Value } from "./value.ts";

type Fill = (mutator: unknown, data: unknown, type: AnyNestableType, path: string) => void;

const fillSet: Fill = (mutator, data, _type, path) => {
  for (const element of list(data, path)) (mutator as OrSetMutator<Value>).add(element);
};

const fillCounter: Fill = (mutator, data) => (mutator as PnCounterMutator).increment(data as number);

const fillFlag: Fill = (mutator, data, _type, path) => {
  if (typeof data !== "boolean") throw mistake("a boolean", path);
  if (data) (mutator as FlagMutator).enable();
  else (mutator as FlagMutator).disable();
};

const fillFields: Fill = (mutator, data, { parts }, path) => {
  const fields = record(data, path);
  for (const [field, type] of Object.entries(parts?.fields ?? {})) {
    const bound: unknown = (mutator as Record<string, unknown>)[field];
    if (Object.hasOwn(fields, field)) fill(type, bound, fields[field], `${path}.${field}`);
  }
};

const fillChildren: Fill = (mutator, data, { parts }, path) => {
  const child = parts?.child;
  for (const [key, item] of Object.entries(record(data, path))) {
    if (child !== undefined) fill(child, (mutator as OrMapMutator<unknown, unknown>).at(key), item, `${path}.${key}`);
  }
};

/** How plain data gets into each type, by its name. */
const FILLS: ReadonlyMap<string, Fill> = new Map<string, Fill>([
  ["gcounter", fillCounter],
  ["pncounter", fillCounter],
  ["lww", (mutator, data) => (mutator as LwwRegisterMutator<unknown>).set(data)],
  [
    "mvregister",
    (mutator, data, _type, path) => {
      const values = list(data, path);
      if (values.length > 1) throw mistake("a single value, for concurrent ones cannot be made", path);
      for (const value of values) (mutator as MvRegisterMutator<unknown>).set(value);
    },
  ],
  ["ewflag", fillFlag],
  ["dwflag", fillFlag],
  ["orset", fillSet],
  ["gset", fillSet],
  ["rwset", fillSet],
  ["twopset", fillSet],
  ["orlog", (mutator, data, _type, path) => (mutator as OrLogMutator<Value>).append(...list(data, path))],
  ["tree", (mutator, data) => (mutator as TreeMutator<Value>).fromJSON(data as readonly NewTreeNode<Value>[])],
  [
    "lwwmap",
    (mutator, data, _type, path) => {
      for (const [key, item] of Object.entries(record(data, path))) (mutator as LwwMapMutator<unknown>).set(key, item);
    },
  ],
  ["ormap", fillChildren],
  ["struct", fillFields],
]);

/**
 * Writes plain data into a mutator, as if by hand: what `value()` of the same type reads goes back in. It adds to what
 * is there: counters go up by the number, sets and logs get the elements too, other keys stay. Fields that are absent
 * or `undefined` are not written, nor are the numbers 0 and empty lists.
 *
 * Throws `TypeError`, naming the path, for data of another shape, and what the types' own methods throw. For a map of
 * undeclared shape take `jsonMap`, which also makes itself equal to data by the fewest changes.
 *
 * @param type the type that `mutator` belongs to
 */
export function fromJSON<Type extends AnyNestableType>(
  type: Type,
  mutator: NestedMutator<Type>,
  data: ValueOf<Type>,
): void {
  fill(type, mutator, data, "");
}

function fill(type: AnyNestableType, mutator: unknown, data: unknown, path: string): void {
  if (data === undefined) return;
  const { parts, name } = type;
  const found = FILLS.get(name);
  if (found === undefined || ((name === "ormap" || name === "struct") && parts === undefined)) {
    throw new TypeError(`the type ${name} cannot be made of plain data${at(path)}`);
  }
  found(mutator, data, type, path);
}

function record(data: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof data !== "object" || data === null || Array.isArray(data)) throw mistake("an object", path);
  return data as Readonly<Record<string, unknown>>;
}

function list(data: unknown, path: string): readonly Value[] {
  if (!Array.isArray(data)) throw mistake("a list", path);
  return data as readonly Value[];
}

function mistake(wanted: string, path: string): TypeError {
  return new TypeError(`the data must be ${wanted}${at(path)}`);
}

function at(path: string): string {
  return path === "" ? "" : ` (at ${path})`;
}
