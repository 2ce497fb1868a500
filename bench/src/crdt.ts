/**
 * The CRDT package alone, without a replica around it: mutators including their deltas, and remote apply. Yjs runs in
 * the same process for comparison. Prints medians of several rounds in nanoseconds an operation.
 */
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
const WARM_UP_ROUNDS = 10;
const keys: readonly string[] = Array.from({ length: KEYS }, (_, index) => `key${String(index).padStart(5, "0")}`);

/** What a shell keeps for a group: one event each callback. */
class Shell implements Transaction {
  readonly actor: Transaction["actor"];
  seq = 0;
  time = 0;
  serial = 0;
  readonly delta: Writer = new Writer(1 << 16);
  readonly touched = undefined;
  readonly #undos: (() => void)[] = [];
  readonly #clock: HybridClock = new HybridClock(Date.now);

  constructor(node: number) {
    this.actor = createActor(new Uint8Array(8).fill(node), new Uint8Array(8).fill(node));
  }

  begin(): void {}

  onRollback(undo: () => void): void {
    this.#undos.push(undo);
  }

  next(): void {
    this.seq++;
    this.serial++;
    this.time = this.#clock.next();
    this.delta.reset();
    this.#undos.length = 0;
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

for (const [name, ns] of report) process.stdout.write(`${name.padEnd(48)} ${ns.toFixed(1).padStart(10)} ns\n`);
process.stdout.write(`${"bytes of a map set".padEnd(48)} ${fill(openMap(), 1)[5]?.length ?? 0}\n`);
process.stdout.write(`${"bytes of the state, a key".padEnd(48)} ${(body.length / KEYS).toFixed(1)}\n`);
