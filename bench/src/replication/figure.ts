export interface Figure {
  readonly name: string;
  /** Nothing but the CRDT type, a replica without a disk, or one that journals into LevelDB; beside peers, the system. */
  readonly measures: "type alone" | "replica in memory" | "mode log" | `${string}: ${string}`;
  readonly value: number;
  readonly unit: string;
  /** Processor time of each, all threads of the process: what stays comparable on a machine that others use, too. */
  readonly cpuNs?: number;
  /** The limit it is held against, measured in the same run: less work that moves the same data. */
  readonly raw?: { readonly name: string; readonly value: number };
  /** Another library's figure for the same. */
  readonly other?: { readonly name: string; readonly value: number; readonly cpuNs?: number };
  readonly goal?: { readonly text: string; readonly isMet: boolean };
  /** Anything else worth knowing. */
  readonly note?: string;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}

/** Nanoseconds on a clock that all processes of this machine share. */
export function nowNs(): number {
  return Number(process.hrtime.bigint());
}

/** Processor time that this process has used, all its threads together, in nanoseconds. */
export function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** Lets input, output and timers have their turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits, looking at every turn of the event loop; fails after ten seconds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const endNs = nowNs() + 10e9;
  while (!holds()) {
    if (nowNs() > endNs) throw new Error(`it took more than ten seconds until ${what}`);
    await turn();
  }
}

/** Figures as a table. */
export function formatTable(figures: readonly Figure[]): string {
  const header = ["figure", "measures", "value", "CPU each", "raw limit", "ratio to raw", "other", "goal"];
  const rows = figures.map(({ name, measures, value, unit, cpuNs: cpu, raw, other, goal }) => [
    name,
    measures,
    `${short(value)} ${unit}`,
    cpu === undefined ? "" : `${short(cpu)} ns`,
    raw === undefined ? "" : `${short(raw.value)} ${raw.name}`,
    raw === undefined ? "" : ratio(value / raw.value),
    other === undefined ? "" : `${ratio(value / other.value)} of ${other.name}${byCpu(cpu, other.cpuNs)}`,
    goal === undefined ? "" : `${goal.text}: ${goal.isMet ? "met" : "MISSED"}`,
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  const notes = figures.flatMap(({ name, note }) => (note === undefined ? [] : [`${name}: ${note}`]));
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line), "", ...notes].join("\n");
}

function byCpu(ours: number | undefined, theirs: number | undefined): string {
  return ours === undefined || theirs === undefined ? "" : `, ${ratio(theirs / ours)} by CPU`;
}

function ratio(value: number): string {
  return `${value < 10 ? value.toFixed(2) : Math.round(value)} x`;
}

function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${Math.round(value / 1e3)} k`;
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3);
}
