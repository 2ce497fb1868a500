import type { Outcome } from "./run.ts";

/** The result of a run as a table. */
export function formatReport(outcome: Outcome): string {
  const { counts, recovery } = outcome;
  const perSecond = (count: number): string => whole(count / (outcome.countingMs / 1000));
  const top = [...counts].toSorted(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, 10);
  const rows: readonly (readonly [string, string])[] = [
    ["top ten words", ""],
    ...top.map(([word, count]) => [`  ${word}`, whole(count)] as const),
    ["words in total", whole(outcome.total)],
    ["different words", whole(counts.size)],
    ["sequential count", "agrees exactly: every word, on all three nodes"],
    ["node starts", `${outcome.starts}`],
    ["digests", `equal on all three nodes, ${outcome.groups} groups`],
    ["writes per second", `${perSecond(outcome.writes)} atomic, with ${perSecond(outcome.increments)} increments`],
    ["propagation", `${latency(outcome.latenciesAtRestMs)} at rest`],
    ["", `${latency(outcome.latenciesMs)} while counting`],
    [
      "recovery time",
      `${milliseconds(recovery.durationMs)} for ${recovery.groups} groups, ${whole(recovery.events)} events; ` +
        `${milliseconds(recovery.restartMs)} with the start of the process`,
    ],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join("\n");
}

/** The smallest sample that at least this part of all samples does not exceed; `NaN` without samples. */
export function quantile(samples: readonly number[], part: number): number {
  const sorted = Float64Array.from(samples).sort();
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}

function latency(samples: readonly number[]): string {
  return `p50 ${milliseconds(quantile(samples, 0.5))}, p99 ${milliseconds(quantile(samples, 0.99))}`;
}

function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
