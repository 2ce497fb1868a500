import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { describeDifferences, differences } from "./compare.ts";
import { letters } from "./groups.ts";
import type { GroupState, Recovered } from "./messages.ts";
import type { NodeHandle } from "./node-handle.ts";
import type { SequentialCount } from "./sequential-count.ts";

/** How far the victim counts before it is killed, and how far all may count before and while it is away. */
const KILL_AT = 0.4;
const BEFORE_KILL = 0.75;
const WHILE_AWAY = 0.9;
const POLL_MS = 25;
/** How long propagation is measured once nothing else happens. */
const REST_MS = 1_000;

/** What a run measured. */
export interface Outcome {
  readonly counts: ReadonlyMap<string, number>;
  readonly total: number;
  readonly starts: number;
  readonly groups: number;
  readonly writes: number;
  readonly increments: number;
  readonly countingMs: number;
  /** How long writes took to other nodes while counting, and with nothing else to do. */
  readonly latenciesMs: readonly number[];
  readonly latenciesAtRestMs: readonly number[];
  readonly recovery: Recovery;
}

export interface Recovery extends Recovered {
  /** From the start of the new process until its node serves. */
  readonly restartMs: number;
}

/**
 * The run: three nodes count, one of them is killed and comes back, all converge, and every count is compared with the
 * sequential one. Throws an error that says what differs.
 */
export async function runCluster(
  cluster: Cluster,
  expected: SequentialCount,
  say: (line: string) => void,
): Promise<Outcome> {
  await cluster.start((node, { addresses }) => {
    say(`${node.name} runs: process ${node.pid}, ${addresses.join(" ")}`);
  });
  await cluster.beginPulse();
  const startedAt = performance.now();
  const recovery = await countThroughKill(cluster, say);
  const countingMs = performance.now() - startedAt;
  const latenciesMs = await cluster.endPulse();
  const finishedAt = performance.now();
  await converge(cluster);
  say(`all is counted, and the nodes converged ${Math.round(performance.now() - finishedAt)} ms later`);
  await cluster.beginPulse();
  await sleep(REST_MS);
  const latenciesAtRestMs = await cluster.endPulse();
  const groups = await converge(cluster);
  const { counts, starts } = await verify(cluster, expected);
  const sum = (pick: (node: NodeHandle) => number): number =>
    cluster.nodes.reduce((total, node) => total + pick(node), 0);
  return {
    counts,
    total: expected.total,
    starts,
    groups,
    writes: sum((node) => node.progress.writes),
    increments: sum((node) => node.progress.increments),
    countingMs,
    latenciesMs,
    latenciesAtRestMs,
    recovery,
  };
}

async function countThroughKill(cluster: Cluster, say: (line: string) => void): Promise<Recovery> {
  const [, victim] = cluster.nodes;
  if (victim === undefined) throw new TypeError("no node to kill");
  const others = cluster.nodes.filter((node) => node !== victim);
  const othersDone = (): number => others.reduce((sum, node) => sum + node.progress.chunks, 0);

  cluster.allow(BEFORE_KILL, true);
  await cluster.until(`${victim.name} to count ${percent(KILL_AT)} of its share`, () => {
    return victim.progress.chunks >= KILL_AT * victim.chunks;
  });
  await victim.kill();
  const acknowledged = victim.progress.chunks;
  const doneBefore = othersDone();
  say(
    `killed ${victim.name} (SIGKILL): it had acknowledged ${acknowledged} of its ${victim.chunks} chunks; the others will notice`,
  );
  cluster.allow(WHILE_AWAY, true);

  const restartedAt = performance.now();
  const { recovered } = await cluster.restart(victim);
  const restartMs = performance.now() - restartedAt;
  checkRecovered(victim, recovered, acknowledged);
  say(
    `${victim.name} is back: recovered ${recovered.groups} groups with ${recovered.events} events ` +
      `in ${recovered.durationMs.toFixed(1)} ms, and goes on after chunk ${range(recovered.positions)}; ` +
      `the others counted ${othersDone() - doneBefore} chunks meanwhile`,
  );
  await cluster.join(victim);
  await victim.call("beginPulse");
  cluster.allow(1, false);
  await cluster.until("the nodes to count their shares", () =>
    cluster.nodes.every((node) => node.progress.chunks >= node.chunks),
  );
  return { ...recovered, restartMs };
}

/** The killed node must stand halfway, and must have all that it had acknowledged. */
function checkRecovered(victim: NodeHandle, { positions }: Recovered, acknowledged: number): void {
  const lowest = Math.min(...positions);
  const highest = Math.max(...positions);
  if (lowest < acknowledged) {
    throw new Error(
      `${victim.name} lost acknowledged counts: chunk ${acknowledged} was acknowledged, ${lowest} is left`,
    );
  }
  if (lowest < 0.25 * victim.chunks || highest > 0.75 * victim.chunks) {
    throw new Error(`${victim.name} was not stopped halfway: at chunk ${range(positions)} of ${victim.chunks}`);
  }
}

/** Waits until every group is the same on all nodes; returns how many there are. */
async function converge(cluster: Cluster): Promise<number> {
  for (;;) {
    const states = await Promise.all(cluster.nodes.map((node) => node.call("groupStates")));
    const [first, ...rest] = states.map((groups) => new Map(groups.map((group) => [group.name, group])));
    const different = [...(first?.values() ?? [])].filter((group) =>
      rest.some((groups) => !isEqual(group, groups.get(group.name))),
    );
    if (different.length === 0) return first?.size ?? 0;
    cluster.awaiting = `equal digests of ${different.map((group) => group.name).join(", ")}`;
    await sleep(POLL_MS);
  }
}

function isEqual(group: GroupState, other: GroupState | undefined): boolean {
  return group.digest === other?.digest && group.contentHash === other.contentHash;
}

/** Compares what every node has with the sequential count, word by word. */
async function verify(
  cluster: Cluster,
  expected: SequentialCount,
): Promise<{ counts: ReadonlyMap<string, number>; starts: number }> {
  let counts: ReadonlyMap<string, number> = new Map();
  const startsExpected = cluster.nodes.length + 1;
  for (const node of cluster.nodes) {
    cluster.awaiting = `${node.name} to tell its counts`;
    counts = await countsOf(node);
    const found = differences(expected.counts, counts);
    if (found.length > 0) {
      throw new Error(
        `${node.name} disagrees with the sequential count in ${found.length} words:\n${describeDifferences(found)}`,
      );
    }
    const starts = await node.call("starts");
    if (starts !== startsExpected) throw new Error(`${node.name} counts ${starts} starts instead of ${startsExpected}`);
  }
  return { counts, starts: startsExpected };
}

async function countsOf(node: NodeHandle): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const letter of letters) {
    const { words, total } = await node.call("counts", letter);
    let sum = 0;
    for (const [word, count] of words) {
      counts.set(word, count);
      sum += count;
    }
    if (sum !== total)
      throw new Error(`${node.name}: the words under ${letter} add up to ${sum}, their total says ${total}`);
  }
  return counts;
}

function range(positions: readonly number[]): string {
  const lowest = Math.min(...positions);
  const highest = Math.max(...positions);
  return lowest === highest ? `${lowest}` : `${lowest} to ${highest}`;
}

function percent(part: number): string {
  return `${Math.round(100 * part)} %`;
}
