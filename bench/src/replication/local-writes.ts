import { ClassicLevel } from "classic-level";
import { type GroupId, type Node, type Write, createNode, gCounter, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { join } from "node:path";
import * as Y from "yjs";
import { inDirectory } from "./directory.ts";
import { type Figure, cpuNs, median, nowNs, turn } from "./figure.ts";

const KEYS = 20_000;
const ROUNDS = 7;
const WARM_UP_ROUNDS = 3;
/** Writes between two turns of the event loop, at the end of which a node commits and sends. */
const WRITES_A_TURN = 1_000;
/** Writes that are awaited one by one. */
const AWAITED = 2_000;
const VALUE = "value678";
const keys: readonly string[] = Array.from({ length: KEYS }, (_, index) => `key${String(index).padStart(5, "0")}`);

/** One way to write everything once; resolves when all of it is where it should be, with what to do off the clock. */
type Subject = () => Promise<(() => Promise<void>) | void>;

/** How fast one way to write is. */
interface Speed {
  readonly perSecond: number;
  readonly cpuNs: number;
}

/** Medians of rounds, in which the subjects take turns, so that the machine's moods meet all alike. */
async function compare<Name extends string>(
  subjects: Readonly<Record<Name, Subject>>,
  count: number,
): Promise<Record<Name, Speed>> {
  const speeds = {} as Record<Name, Speed>;
  const names = Object.keys(subjects) as Name[];
  const times = new Map(names.map((name) => [name, { wall: [] as number[], cpu: [] as number[] }]));
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    for (const name of names) {
      const [startNs, startCpuNs] = [nowNs(), cpuNs()];
      const cleanUp = await subjects[name]();
      if (round >= 0) {
        times.get(name)?.wall.push(nowNs() - startNs);
        times.get(name)?.cpu.push(cpuNs() - startCpuNs);
      }
      await cleanUp?.();
    }
  }
  for (const [name, { wall, cpu }] of times) {
    speeds[name] = { perSecond: (count * 1e9) / median(wall), cpuNs: median(cpu) / count };
  }
  return speeds;
}

async function inTurns(write: (index: number) => void): Promise<void> {
  for (let index = 0; index < KEYS; index++) {
    write(index);
    if (index % WRITES_A_TURN === WRITES_A_TURN - 1) await turn();
  }
}

/** Writes to new groups of a node, and waits for the last acknowledgement. A group is gone before the next begins. */
function subjectsOf(node: Node): { map: Subject; counter: Subject; awaited: Subject } {
  let groups = 0;
  const nextId = (): GroupId => ["bench", `group${groups++}`];
  const written = async (write: (index: number) => Write<void>): Promise<void> => {
    let last: Write<void> | undefined;
    await inTurns((index) => {
      last = write(index);
    });
    await last;
  };
  return {
    async map() {
      const replica = await node.open(nextId(), lwwMap<string>());
      await written((index) => replica.mutate((map) => map.set(keys[index] ?? "", VALUE)));
      return () => node.delete(replica.id);
    },
    async counter() {
      const replica = await node.open(nextId(), gCounter);
      await written(() => replica.mutate((counter) => counter.increment(1)));
      return () => node.delete(replica.id);
    },
    async awaited() {
      const replica = await node.open(nextId(), lwwMap<string>());
      for (let index = 0; index < AWAITED; index++) {
        await replica.mutate((map) => map.set(keys[index] ?? "", VALUE));
      }
      return () => node.delete(replica.id);
    },
  };
}

async function rawMap(): Promise<void> {
  const map = new Map<string, string>();
  await inTurns((index) => map.set(keys[index] ?? "", VALUE));
}

async function rawCounter(): Promise<void> {
  const map = new Map<string, number>();
  await inTurns(() => map.set("counter", (map.get("counter") ?? 0) + 1));
}

async function yjsMap(): Promise<void> {
  const doc = new Y.Doc();
  const map = doc.getMap<string>("map");
  doc.on("update", () => undefined);
  await inTurns((index) => map.set(keys[index] ?? "", VALUE));
}

/** The least that a journal could do: each write as an entry, a turn's entries in one batch. */
function rawLevel(level: ClassicLevel<string, Uint8Array>): { batched: Subject; awaited: Subject } {
  const value = new Uint8Array(30);
  let sequence = 0;
  return {
    async batched() {
      for (let start = 0; start < KEYS; start += WRITES_A_TURN) {
        const batch = level.batch();
        for (let index = 0; index < WRITES_A_TURN; index++) batch.put(String(sequence++), value);
        await batch.write();
      }
    },
    async awaited() {
      for (let index = 0; index < AWAITED; index++) await level.put(String(sequence++), value);
    },
  };
}

async function inMemory(): Promise<Figure[]> {
  await using node = await createNode({ types: [lwwMap(), gCounter] });
  const { map, counter } = subjectsOf(node);
  const speeds = await compare({ map, counter, rawMap, rawCounter }, KEYS);
  // Afterwards: in turns with the others, its garbage would be collected on their time.
  const { yjsMap: yjs } = await compare({ yjsMap }, KEYS);
  const measures = "replica in memory";
  const maps = speeds.map.perSecond;
  const counters = speeds.counter.perSecond;
  return [
    {
      name: "map set, one event each",
      measures,
      value: maps,
      unit: "/s",
      cpuNs: speeds.map.cpuNs,
      raw: { name: "/s Map.set", value: speeds.rawMap.perSecond },
      other: { name: "Y.Map.set", value: yjs.perSecond, cpuNs: yjs.cpuNs },
      goal: { text: ">= 2 M/s, >= 6 x Yjs", isMet: maps >= 2e6 && maps >= 6 * yjs.perSecond },
    },
    {
      name: "counter increment, one event each",
      measures,
      value: counters,
      unit: "/s",
      cpuNs: speeds.counter.cpuNs,
      raw: { name: "/s Map.get + set", value: speeds.rawCounter.perSecond },
      goal: { text: ">= 3 M/s", isMet: counters >= 3e6 },
    },
  ];
}

async function inModeLog(path: string): Promise<Figure[]> {
  await using node = await createNode({ types: [lwwMap(), gCounter], storage: levelStorage(join(path, "node")) });
  const level = new ClassicLevel<string, Uint8Array>(join(path, "raw"), { valueEncoding: "view" });
  await level.open();
  try {
    const { map, counter, awaited } = subjectsOf(node);
    const raw = rawLevel(level);
    const speeds = await compare({ map, counter, raw: raw.batched }, KEYS);
    const one = await compare({ awaited, raw: raw.awaited }, AWAITED);
    const limit = { name: "/s LevelDB, a put each", value: speeds.raw.perSecond };
    const measures = "mode log";
    const rate = ({ perSecond, cpuNs: cpu }: Speed): Pick<Figure, "value" | "unit" | "cpuNs"> => ({
      value: perSecond,
      unit: "/s",
      cpuNs: cpu,
    });
    return [
      { name: "map set, one event each", measures, ...rate(speeds.map), raw: limit },
      {
        name: "counter increment, one event each",
        measures,
        ...rate(speeds.counter),
        raw: limit,
        goal: { text: ">= 0.5 M/s", isMet: speeds.counter.perSecond >= 0.5e6 },
      },
      {
        name: "map set, each awaited before the next",
        measures,
        ...rate(one.awaited),
        raw: { name: "/s LevelDB, an awaited put each", value: one.raw.perSecond },
      },
    ];
  } finally {
    await level.close();
  }
}

/** Local writes a second, until the last is acknowledged. */
export async function localWrites(): Promise<Figure[]> {
  return [...(await inMemory()), ...(await inDirectory(inModeLog))];
}
