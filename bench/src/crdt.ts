/**
 * The CRDT package alone, without a replica around it: mutators including their deltas, and remote apply. Yjs runs in
 * the same process for comparison. Prints medians of several rounds in nanoseconds an operation, then what they come to: speeds,
 * ratios to Yjs, sizes, and the heap of an open map.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  type AnyCrdtType,
  type GCounterMutator,
  HybridClock,
  type LwwMapMutator,
  type Transaction,
  VersionVector,
  Writer,
  createActor,
  gCounter,
  lwwMap,
  orMap,
} from "@coppice/crdt";
import * as Y from "yjs";

const KEYS = 20_000;
const ROUNDS = 15;
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const WARM_UP_ROUNDS = 10;
const keys: readonly string[] = Array.from({ length: KEYS }, (_, index) => `key${String(index).padStart(5, "0")}`);

/** What a shell keeps for a group: one event each callback. */
class Shell implements Transaction {
  readonly actor: Transaction["actor"];
  seq = 0;
  time = 0;
  serial = 0;
  scratch: unknown = undefined;
  readonly delta: Writer = new Writer(1 << 16);
  readonly touched = undefined;
  readonly #undos: unknown[] = [];
  #undoCount = 0;
  readonly #clock: HybridClock = new HybridClock(Date.now);

  constructor(node: number) {
    this.actor = createActor(new Uint8Array(8).fill(node), new Uint8Array(8).fill(node));
  }

  begin(): void {}

  onRollback<A, B, C>(undo: (first: A, second: B, third: C) => void, first?: A, second?: B, third?: C): void {
    const at = this.#undoCount;
    this.#undos[at] = undo;
    this.#undos[at + 1] = first;
    this.#undos[at + 2] = second;
    this.#undos[at + 3] = third;
    this.#undoCount = at + 4;
  }

  next(): void {
    this.seq++;
    this.serial++;
    this.time = this.#clock.next();
    this.delta.reset();
    this.#undoCount = 0;
  }
}

/** Nanoseconds an operation: the median of rounds after some to warm up, each on fresh state from `prepare`. */
function median<State>(prepare: () => State, run: (state: State) => void, count: number): number {
  const rounds: number[] = [];
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    const state = prepare();
    const start = process.hrtime.bigint();
    run(state);
    const elapsed = Number(process.hrtime.bigint() - start) / count;
    if (round >= 0) rounds.push(elapsed);
  }
  return rounds.sort((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
}

function open<Mutator>(type: AnyCrdtType, node = 1): { shell: Shell; state: unknown; mutator: Mutator } {
  const shell = new Shell(node);
  const state: unknown = type.create();
  return { shell, state, mutator: type.mutator(state, shell) as Mutator };
}

function fill({ shell, mutator }: { shell: Shell; mutator: LwwMapMutator<string> }, batch: number): Uint8Array[] {
  const deltas: Uint8Array[] = [];
  for (let index = 0; index < KEYS; index++) {
    if (index % batch === 0) {
      if (index > 0) deltas.push(shell.delta.take());
      shell.next();
    }
    mutator.set(keys[index] ?? "", "value678");
  }
  deltas.push(shell.delta.take());
  return deltas;
}

const report = new Map<string, number>();
const map = lwwMap<string>();

report.set(
  "Map.set",
  median(
    () => new Map<string, string>(),
    (raw) => keys.forEach((key) => raw.set(key, "value678")),
    KEYS,
  ),
);
const openMap = (): ReturnType<typeof open<LwwMapMutator<string>>> => open<LwwMapMutator<string>>(map);
const setAll = ({ shell, mutator }: ReturnType<typeof openMap>): void => {
  for (let index = 0; index < KEYS; index++) {
    shell.next();
    mutator.set(keys[index] ?? "", "value678");
  }
};
report.set("map set, new key, one event each", median(openMap, setAll, KEYS));
report.set(
  "map set, known key, one event each",
  median(
    () => {
      const opened = openMap();
      setAll(opened);
      return opened;
    },
    setAll,
    KEYS,
  ),
);
report.set(
  "map set, batched by 100, with take()",
  median(openMap, (opened) => fill(opened, 100), KEYS),
);
report.set(
  "counter increment, one event each",
  median(
    () => open<GCounterMutator>(gCounter),
    ({ shell, mutator }) => {
      for (let index = 0; index < KEYS; index++) {
        shell.next();
        mutator.increment();
      }
    },
    KEYS,
  ),
);
report.set(
  "nested counter increment, one event each",
  median(
    () => open<{ at(key: string): GCounterMutator }>(orMap(gCounter)),
    ({ shell, mutator }) => {
      for (let index = 0; index < KEYS; index++) {
        shell.next();
        mutator.at(keys[index & 1023] ?? "").increment();
      }
    },
    KEYS,
  ),
);

for (const batch of [1, 100, KEYS]) {
  const source = openMap();
  const deltas = fill(source, batch);
  const { actor } = source.shell;
  report.set(
    `apply remote map sets, ${batch} an event`,
    median(
      () => map.create(),
      (state) =>
        deltas.forEach((delta, index) => map.apply(state, delta, { actor, seq: index + 1, time: 1e6 + index })),
      KEYS,
    ),
  );
}

const full = openMap();
fill(full, 100);
const body = map.encode(full.state as never);
const theirs = new VersionVector([[full.shell.actor, full.shell.seq]]);
report.set(
  "encode",
  median(
    () => full.state,
    (state) => void map.encode(state as never),
    KEYS,
  ),
);
report.set(
  "decode",
  median(
    () => body,
    (bytes) => void map.decode(bytes),
    KEYS,
  ),
);
report.set(
  "join of an equal state",
  median(
    () => map.decode(body),
    (state) => map.join(state, body, theirs, theirs),
    KEYS,
  ),
);
report.set(
  "value()",
  median(
    () => full.state,
    (state) => void map.value(state as never),
    KEYS,
  ),
);

const openDoc = (): Y.Doc => new Y.Doc();
const yjsSetAll = (doc: Y.Doc): void => {
  const shared = doc.getMap<string>("m");
  doc.on("update", () => undefined);
  for (const key of keys) shared.set(key, "value678");
};
report.set("Yjs map set, one update each", median(openDoc, yjsSetAll, KEYS));
report.set(
  "Yjs map set, known key, one update each",
  median(
    () => {
      const doc = openDoc();
      yjsSetAll(doc);
      return doc;
    },
    yjsSetAll,
    KEYS,
  ),
);
for (const batch of [1, 100, KEYS]) {
  const updates: Uint8Array[] = [];
  const doc = openDoc();
  doc.on("update", (update: Uint8Array) => updates.push(update));
  for (let start = 0; start < KEYS; start += batch) {
    doc.transact(() => keys.slice(start, start + batch).forEach((key) => doc.getMap("m").set(key, "value678")));
  }
  report.set(
    `Yjs apply remote map sets, ${batch} an update`,
    median(openDoc, (target) => updates.forEach((update) => Y.applyUpdate(target, update)), KEYS),
  );
}

/** A map of 1 000 keys after `writes` writes in turn, one event each, as it is stored. */
function stateAfter(writes: number): Uint8Array {
  const { shell, state, mutator } = openMap();
  for (let index = 0; index < writes; index++) {
    shell.next();
    mutator.set(keys[index % 1000] ?? "", `v${String(index).padStart(7, "0")}`);
  }
  return map.encode(state as never);
}

/** Bytes of heap that each of what `make` returns holds on to. */
function heapOfEach(make: () => unknown): number {
  const count = 5000;
  const held: unknown[] = Array.from({ length: count });
  for (let index = 0; index < 100; index++) make();
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < count; index++) held[index] = make();
  collectGarbage();
  const bytes = (process.memoryUsage().heapUsed - before) / count;
  // Read, so that it is alive until here.
  return held.length === count ? bytes : Number.NaN;
}

const tenKeys = openMap();
for (let index = 0; index < 10; index++) {
  tenKeys.shell.next();
  tenKeys.mutator.set(keys[index] ?? "", "value678");
}
const tenKeysBody = map.encode(tenKeys.state as never);
const shell = new Shell(3);
const ns = (name: string): number => report.get(name) ?? Number.NaN;
const line = (name: string, value: string): void => void process.stdout.write(`${name.padEnd(56)} ${value}\n`);
const speed = (name: string): string => `${(1000 / ns(name)).toFixed(2)} M/s`;
const ratio = (ours: string, theirs: string): string => `${(ns(theirs) / ns(ours)).toFixed(1)} x`;

for (const [name, value] of report) line(name, `${value.toFixed(1).padStart(10)} ns`);
line("map set, new key, one event each", speed("map set, new key, one event each"));
line("  to Y.Map.set, one update each", ratio("map set, new key, one event each", "Yjs map set, one update each"));
line("map set, known key, one event each", speed("map set, known key, one event each"));
line(
  "  to Y.Map.set of known keys, one update each",
  ratio("map set, known key, one event each", "Yjs map set, known key, one update each"),
);
for (const batch of [1, 100, KEYS]) {
  const ours = `apply remote map sets, ${batch} an event`;
  line(`${ours}, to Yjs`, ratio(ours, `Yjs apply remote map sets, ${batch} an update`));
}
line("counter increment, one event each", speed("counter increment, one event each"));
line("bytes of a map set, 8-byte key and value, delta", String(fill(openMap(), 1)[5]?.length ?? 0));
line("bytes of a map set, 8-byte key and value, state", (body.length / KEYS).toFixed(1));
const rewritten = stateAfter(100_000).length;
line("state of 1 000 keys written 100 000 times", `${rewritten} bytes`);
line("  to the state of 1 000 keys written once", (rewritten / stateAfter(1000).length).toFixed(2));
line("  to the JSON of its content", (rewritten / (1000 * '"key00000":"v0000000",'.length + 1)).toFixed(2));
line("  to the bytes of its keys and values alone", (rewritten / 16_000).toFixed(2));
line("heap of a map of ten keys, read from its state", `${heapOfEach(() => map.decode(tenKeysBody)).toFixed(0)} bytes`);
line(
  "  with its mutator and view",
  `${heapOfEach(() => {
    const state = map.decode(tenKeysBody);
    return [state, map.mutator(state, shell), map.view(state)];
  }).toFixed(0)} bytes`,
);
line(
  "heap of a Yjs document with a map of ten keys",
  `${heapOfEach(() => {
    const doc = new Y.Doc();
    for (let index = 0; index < 10; index++) doc.getMap("m").set(keys[index] ?? "", `value${index}78`);
    return doc;
  }).toFixed(0)} bytes`,
);
