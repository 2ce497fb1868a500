/** Backups of whole nodes, and going back to how things were. */
import { createReadStream } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { type RestoreStep, planRestore, restoreAt } from "@coppice/replication";
import { formatGroupId, parseGroupId } from "@coppice/storage";
import { type CliContext, groupId, withConnection } from "../context.ts";
import { type ExportOptions, exportTo, readableSize } from "../export-file.ts";
import { interruptible } from "../interrupt.ts";
import { type Streams, counted, printable, table, tally } from "../output.ts";
import { type Progress, withProgress } from "../progress.ts";
import { type OfflineOptions, offline } from "./storage.ts";

interface RestoreOptions extends OfflineOptions {
  readonly prefix?: string;
  readonly at?: number;
  readonly dryRun?: true;
  readonly overwrite?: true;
  readonly skipExisting?: true;
  readonly skipUnreachable?: true;
}

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

export function backupCommands(program: Command, context: CliContext): void {
  backupCommand(program, context);
  restoreCommand(program, context);
}

function backupCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("backup")
    .summary("write a backup that can go back in time")
    .description(
      "Writes the groups of a node into a file, each whole as it is at that moment, with all that their journals reach " +
        "back to: of a running node, or of a data directory. `restore` can go back to any moment in between.",
    )
    .argument("<file>", "the file to write, or - for standard output")
    .option("--prefix <id>", "only groups below, as for `groups`", groupId)
    .addHelpText("after", "\nExample:\n  $ coppice backup monday.coppice --data ./a");
  withConnection(command).action(async (file: string, options: ExportOptions) => {
    await exportTo(file, options, { streams, history: true });
  });
}

function restoreCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("restore")
    .summary("bring back a backup, as it is or as of a time")
    .description(
      "Writes the groups of a backup into a data directory, new or not, whose node does not run. With --at each is as it " +
        "was then, and begins a new epoch: peers take it, and what came later is gone there, too. Refuses when the journal " +
        "in the backup does not reach back so far; --dry-run lists how far each group can go back, and writes nothing.",
    )
    .argument("<file>", "what `coppice backup` wrote")
    .option("--at <time>", "such as 2026-01-31T12:00:00Z, or -90m, -1h, -2d for so long ago", parseTime)
    .option("--dry-run", "only tell what would be restored")
    .option("--prefix <id>", "only groups below, as for `groups`", groupId)
    .option("--overwrite", "replace groups that are there with other content")
    .option("--skip-existing", "leave such groups alone")
    .option("--skip-unreachable", "leave out groups whose journal does not reach back so far")
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice restore monday.coppice --data ./b\n" +
        "  $ coppice restore monday.coppice --at -1h --dry-run --data ./b\n" +
        "  $ coppice restore monday.coppice --at 2026-01-31T12:00:00Z --prefix orders/ --data ./b --overwrite",
    );
  offline(command).action(async (file: string, options: RestoreOptions) => {
    const size = await readableSize(file);
    await withProgress(streams, options, [options.dryRun ? "reading" : "restoring", "bytes"], (progress) =>
      interruptible(async (signal) => {
        if (options.dryRun === true) await tellPlan(streams, file, options, progress, size, signal);
        else await restore(streams, file, options, progress, size, signal);
      }),
    );
  });
}

async function restore(
  streams: Streams,
  file: string,
  options: RestoreOptions,
  progress: Progress,
  size: number,
  signal: AbortSignal,
): Promise<void> {
  const { data, at, overwrite = false, skipExisting = false, skipUnreachable = false, json } = options;
  const selection = selectionOf(options);
  let left: Record<string, number> = {};
  if (at !== undefined) {
    // Before anything is written.
    const { absent, unreachable } = await planned(
      told(createReadStream(file), progress, size),
      { ...selection, at },
      signal,
    );
    left = { "not there yet": absent, "out of reach": unreachable };
    if (unreachable > 0 && !skipUnreachable) {
      // Fails at the first of them.
      for await (const _ of restoreAt(createReadStream(file), { ...selection, at })) signal.throwIfAborted();
    }
  }
  const { importDirectory } = await import("../../daemon/offline.ts");
  const source = told(createReadStream(file), progress, size);
  const chunks = at === undefined ? source : restoreAt(source, { ...selection, at, skipUnreachable });
  const report = await importDirectory(data, chunks, {
    ...selection,
    overwrite,
    renew: at !== undefined,
    skipExisting,
    signal,
  });
  const { groups, imported: restored, present, overwritten: replaced, skipped, deleted } = report;
  const counts = { restored, replaced, present, skipped, deleted, ...left };
  streams.out(json === true ? `${JSON.stringify(report)}\n` : `${counted(groups, "group")}: ${tally(counts)}\n`);
}

const NONE = { state: 0, absent: 0, unreachable: 0, deleted: 0 };

/** How many groups of a backup are what at that time. */
async function planned(
  chunks: AsyncIterable<Uint8Array>,
  options: Parameters<typeof planRestore>[1],
  signal: AbortSignal,
): Promise<typeof NONE> {
  const counts = { ...NONE };
  for await (const { kind } of planRestore(chunks, options)) {
    signal.throwIfAborted();
    counts[kind]++;
  }
  return counts;
}

async function tellPlan(
  streams: Streams,
  file: string,
  options: RestoreOptions,
  progress: Progress,
  size: number,
  signal: AbortSignal,
): Promise<void> {
  const at = options.at ?? Date.now();
  const counts = { ...NONE };
  const rows: string[][] = [];
  for await (const step of planRestore(told(createReadStream(file), progress, size), { ...selectionOf(options), at })) {
    signal.throwIfAborted();
    counts[step.kind]++;
    if (options.json === true) streams.out(`${JSON.stringify(stepBody(step))}\n`);
    else rows.push([printable(formatGroupId(step.id)), WORDS[step.kind], sinceOf(step)]);
  }
  if (options.json === true) return;
  if (rows.length > 0) streams.out(table(["GROUP", "THEN", "REACHES BACK TO"], rows));
  const words = Object.entries(counts).map(([kind, count]) => [WORDS[kind as keyof typeof WORDS], count] as const);
  streams.out(`as of ${new Date(at).toISOString()}: ${tally(Object.fromEntries(words))}\n`);
}

const WORDS: { readonly [Kind in RestoreStep["kind"]]: string } = {
  state: "restored",
  absent: "not there yet",
  unreachable: "out of reach",
  deleted: "deleted",
};

function stepBody({ id, kind, sinceMs }: RestoreStep): object {
  return { id: formatGroupId(id), kind, since: sinceMs === 0 ? null : new Date(sinceMs).toISOString() };
}

function sinceOf({ kind, sinceMs }: RestoreStep): string {
  if (kind === "deleted") return "-";
  return sinceMs === 0 ? "its beginning" : new Date(sinceMs).toISOString();
}

function selectionOf({ prefix }: RestoreOptions): { readonly prefix?: ReturnType<typeof parseGroupId> } {
  return prefix === undefined ? {} : { prefix: parseGroupId(prefix) };
}

async function* told(chunks: AsyncIterable<Uint8Array>, progress: Progress, size: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    progress.tell(bytes, size);
    yield chunk;
  }
}

/** Unix milliseconds: of a time of day with its zone, or of so long ago. */
function parseTime(text: string): number {
  const [, amount, unit = ""] = /^-(\d+)([smhd])$/.exec(text) ?? [];
  if (amount !== undefined) return Date.now() - Number(amount) * (UNITS_MS.get(unit) ?? 0);
  // Without a zone, a time would mean another moment on another machine.
  const time = /^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new InvalidArgumentError(
    "It must be a time with its zone, such as 2026-01-31T12:00:00Z, or so long ago: -90m, -1h, -2d.",
  );
}
