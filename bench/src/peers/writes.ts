import { setTimeout as sleep } from "node:timers/promises";
import { type Figure, median, quantile } from "../replication/figure.ts";
import type { Worker } from "../replication/worker.ts";
import { type Cluster, Processes, startCluster } from "./cluster.ts";
import { type Way, compare } from "./compare.ts";

const WARM_UP_MS = 2_000;
const PROBES = 200;
/** After each: automerge-repo gathers changes for 100 ms. The systems take turns. */
const PAUSE_MS = 110;
const WRITES = 20_000;
/** Of automerge-repo: each takes it more than a millisecond, and longer the larger the map is. */
const FEW_WRITES = 500;
const BURSTS = 2;

/** A process that writes and, on each way, one that looks what has come. */
interface Subject {
  readonly writer: Worker;
  readonly readers: ReadonlyMap<Way, Worker>;
  /** How many writes are a burst. */
  readonly writes: number;
}

/** `ways` name what the host sees, and what another member does. */
function subjectOf({ host, member, others }: Cluster, writes: number, ...ways: readonly Way[]): Subject {
  const readers = [host, ...others].flatMap((reader, index) => {
    const way = ways[index];
    return way === undefined ? [] : [[way, reader] as const];
  });
  return { writer: member, readers: new Map(readers), writes };
}

/** Nanoseconds from each write to the moment at which it is seen, on each way; the systems take turns. */
async function atRest(subjects: readonly Subject[]): Promise<Map<Way, number[]>> {
  for (const { writer } of subjects) await writer.ask("warmUp", { ms: WARM_UP_MS });
  await sleep(500);
  const readers = subjects.flatMap((subject) => [...subject.readers]);
  for (const [, reader] of readers) await reader.ask("watch");
  await Promise.all(
    subjects.map(async ({ writer }, index) => {
      await sleep((index * PAUSE_MS) / subjects.length);
      await writer.ask("probe", { probes: PROBES, pauseMs: PAUSE_MS });
    }),
  );
  await sleep(500);
  const times = new Map<Way, number[]>();
  for (const [way, reader] of readers) {
    const samples = await reader.ask<number[]>("samples");
    if (samples.length < PROBES) throw new Error(`${way}: of ${PROBES} writes only ${samples.length} were seen`);
    times.set(way, samples);
  }
  return times;
}

/** Writes of a burst that are seen each second, on each way. */
async function burst({ writer, readers, writes: keys }: Subject, prefix: string): Promise<Map<Way, number>> {
  for (const reader of readers.values()) await reader.ask("expect", { key: `${prefix}${keys - 1}` });
  const startNs = await writer.ask<number>("write", { prefix, keys });
  const rates = new Map<Way, number>();
  for (const [way, reader] of readers) rates.set(way, (keys * 1e9) / ((await reader.ask<number>("reached")) - startNs));
  return rates;
}

/** Writes that are seen each second, on each way; the systems take turns. */
async function inFlood(subjects: readonly Subject[]): Promise<Map<Way, number>> {
  const rates = new Map<Way, number[]>();
  for (let round = 0; round <= BURSTS; round++) {
    for (const subject of subjects) {
      const found = await burst(subject, `burst${round}-`);
      // The first one warms up.
      if (round > 0) for (const [way, rate] of found) rates.set(way, [...(rates.get(way) ?? []), rate]);
    }
  }
  return new Map([...rates].map(([way, each]) => [way, median(each)]));
}

/** How fast single writes reach another process, at rest and in a flood. */
export async function writes(): Promise<Figure[]> {
  using processes = new Processes();
  const subjects = [
    subjectOf(await startCluster(processes, "coppice"), WRITES, "coppice"),
    subjectOf(await startCluster(processes, "automerge-repo"), FEW_WRITES, "automerge-repo"),
    subjectOf(await startCluster(processes, "hocuspocus", { others: 1 }), WRITES, "hocuspocus", "hocuspocus-clients"),
    subjectOf(await startCluster(processes, "hocuspocus-tls"), WRITES, "hocuspocus-tls"),
  ];
  const limit = subjectOf(await startCluster(processes, "raw-stream"), WRITES, "raw-stream");
  const times = await atRest([...subjects, limit]);
  return [...compareTimes(times), ...compareRates(await inFlood(subjects))];
}

function compareTimes(times: ReadonlyMap<Way, readonly number[]>): Figure[] {
  return [0.5, 0.99].flatMap((fraction) => {
    const values = new Map([...times].map(([way, samples]) => [way, quantile(samples, fraction) / 1e6]));
    const raw = { name: "ms libp2p stream", value: values.get("raw-stream") ?? Number.NaN };
    values.delete("raw-stream");
    const name = `one write visible in another process, p${fraction * 100}`;
    return compare({ name, unit: "ms" }, values, { raw });
  });
}

function compareRates(rates: ReadonlyMap<Way, number>): Figure[] {
  const name = "single writes in quick succession, to a peer";
  const note = `${WRITES} in a row, of automerge-repo ${FEW_WRITES}`;
  return compare({ name, unit: "keys/s" }, rates, { isMoreBetter: true, note });
}
