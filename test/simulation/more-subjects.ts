import {
  CrdtError,
  type MutatorOf,
  boundedCounter,
  dwFlag,
  ewFlag,
  gSet,
  jsonMap,
  mvRegister,
  orLog,
  orSet,
  pnCounter,
  rwSet,
  tree,
  twoPSet,
} from "@coppice/crdt";
import type { Note, Scalar } from "./history.ts";
import type { Random } from "./random.ts";
import type { Subject } from "./subject.ts";

const ELEMENTS = ["a", "b", "c", "d", "e"];
const gSetType = gSet<string>();
const orSetType = orSet<string>();
const rwSetType = rwSet<string>();
const twoPSetType = twoPSet<string>();
const mvRegisterType = mvRegister<number>();
const orLogType = orLog<number>();
const treeType = tree<number>();

function sorted(values: Iterable<Scalar>): Scalar[] {
  return [...values].sort((a, b) => (String(a) < String(b) ? -1 : 1));
}

/** Types without a model of their own still leave a note, so that an event is expected. */
const SOMETHING: Note = { op: "set", path: [], value: 0 };

const signed: Subject = {
  type: pnCounter,
  write(mutator, random) {
    const value = random.pick([-1, 1]) * (1 + random.int(9));
    const counter = mutator as MutatorOf<typeof pnCounter>;
    if (value > 0) counter.increment(value);
    else counter.decrement(-value);
    return [{ op: "add", path: [], value }];
  },
  read: ({ sums }) => sums.get("") ?? 0,
};

const grownSet: Subject = {
  type: gSetType,
  write(mutator, random) {
    const element = `${random.pick(ELEMENTS)}${random.int(20)}`;
    const isNew = (mutator as MutatorOf<typeof gSetType>).add(element);
    return isNew ? [{ op: "set", path: [element], value: true }] : [];
  },
  isUnordered: true,
  read: ({ writes }) => [...writes.keys()].sort(),
};

const addWinsSet: Subject = {
  type: orSetType,
  write(mutator, random) {
    const set = mutator as MutatorOf<typeof orSetType>;
    const element = random.pick(ELEMENTS);
    const kind = random.int(10);
    if (kind < 6) {
      set.add(element);
      return [{ op: "set", path: [element], value: true }];
    }
    if (kind < 9) return set.delete(element) ? [{ op: "remove", path: [element] }] : [];
    if (set.size === 0) return [];
    set.clear();
    return [{ op: "remove", path: [] }];
  },
  isUnordered: true,
  read: ({ writes }) => [...writes.keys()].sort(),
};

const removeWinsSet: Subject = {
  type: rwSetType,
  write(mutator, random) {
    const set = mutator as MutatorOf<typeof rwSetType>;
    const element = random.pick(ELEMENTS);
    const value = !set.has(element);
    if (value) set.add(element);
    else set.delete(element);
    return [{ op: "set", path: [element], value }];
  },
  isUnordered: true,
  read: ({ concurrent }) =>
    [...concurrent]
      .filter(([, values]) => values.every((value) => value === true))
      .map(([element]) => element)
      .sort(),
};

const onceSet: Subject = {
  type: twoPSetType,
  write(mutator, random) {
    const set = mutator as MutatorOf<typeof twoPSetType>;
    const element = `${random.pick(ELEMENTS)}${random.int(6)}`;
    if (set.has(element)) {
      if (random.chance(0.5)) return [];
      set.delete(element);
      return [{ op: "set", path: [element, "gone"], value: true }];
    }
    set.add(element);
    // What was removed once does not come back.
    return set.has(element) ? [{ op: "set", path: [element], value: true }] : [];
  },
  isUnordered: true,
  read: ({ writes }) => [...writes.keys()].filter((path) => !path.includes("/") && !writes.has(`${path}/gone`)).sort(),
};

const manyValues: Subject = {
  type: mvRegisterType,
  write(mutator, random) {
    const value = random.int(1e6);
    (mutator as MutatorOf<typeof mvRegisterType>).set(value);
    return [{ op: "set", path: [], value }];
  },
  isUnordered: true,
  read: ({ concurrent }) => sorted(new Set(concurrent.get("") ?? [])),
};

const log: Subject = {
  type: orLogType,
  write(mutator, random) {
    const values = Array.from({ length: 1 + random.int(3) }, () => random.int(1e6));
    (mutator as MutatorOf<typeof orLogType>).append(...values);
    return values.map((value) => ({ op: "append", path: [], value }));
  },
  read: (expected) => expected.log,
};

function flagSubject(type: typeof ewFlag, isOn: (values: readonly Scalar[]) => boolean): Subject {
  return {
    type,
    write(mutator) {
      const flag = mutator as MutatorOf<typeof ewFlag>;
      const value = !flag.get();
      if (value) flag.enable();
      else flag.disable();
      return [{ op: "set", path: [], value }];
    },
    read: ({ concurrent }) => isOn(concurrent.get("") ?? []),
  };
}

const bounded: Subject = {
  type: boundedCounter,
  write(mutator, random) {
    const counter = mutator as MutatorOf<typeof boundedCounter>;
    const amount = 1 + random.int(5);
    if (random.chance(0.5)) {
      counter.increment(amount);
      return [SOMETHING];
    }
    try {
      counter.decrement(amount);
      return [SOMETHING];
    } catch (error) {
      if (error instanceof CrdtError || error instanceof RangeError) return [];
      throw error;
    }
  },
  invariant: (value) => (Number(value) >= 0 ? undefined : `a bounded counter reads ${String(value)}`),
};

const json: Subject = {
  type: jsonMap,
  write(mutator, random) {
    const map = mutator as MutatorOf<typeof jsonMap>;
    const path = Array.from({ length: 1 + random.int(2) }, () => random.pick(ELEMENTS));
    if (random.chance(0.3)) return map.delete(path) ? [SOMETHING] : [];
    map.set(path, random.pick([random.int(100), { x: random.int(9), y: { z: random.int(9) } }, [1, random.int(9)]]));
    return [SOMETHING];
  },
};

const nodes: Subject = {
  type: treeType,
  write(mutator, random) {
    const inTree = mutator as MutatorOf<typeof treeType>;
    const id = random.pick(ELEMENTS);
    const parent = random.pick(ELEMENTS.filter((other) => other !== id && inTree.has(other)).concat([""]));
    try {
      if (!inTree.has(id)) inTree.create(id, random.int(100), parent === "" ? undefined : parent);
      else writeNode(inTree, random, id, parent);
      return [SOMETHING];
    } catch (error) {
      // A node does not go under itself.
      if (error instanceof CrdtError || error instanceof TypeError || error instanceof RangeError) return [];
      throw error;
    }
  },
};

function writeNode(inTree: MutatorOf<typeof treeType>, random: Random, id: string, parent: string): void {
  const kind = random.int(3);
  if (kind === 0) inTree.set(id, random.int(100));
  else if (kind === 1) inTree.move(id, parent === "" ? undefined : parent);
  else inTree.delete(id);
}

/** The types beyond counters, registers and maps. */
export const MORE_SUBJECTS: Readonly<Record<string, Subject>> = {
  signed,
  grownSet,
  addWinsSet,
  removeWinsSet,
  onceSet,
  manyValues,
  log,
  enableWins: flagSubject(ewFlag, (values) => values.includes(true)),
  disableWins: flagSubject(dwFlag, (values) => values.length > 0 && values.every((value) => value === true)),
  bounded,
  json,
  nodes,
};
