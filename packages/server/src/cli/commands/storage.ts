/** Commands about what is stored: checking, repairing, and carrying it elsewhere. */
import { createReadStream } from "node:fs";
import { type Command, Option } from "commander";
import { parseGroupId } from "@coppice/storage";
import type { CheckReport, Finding } from "@coppice/storage";
import { type CliContext, groupId, withConnection } from "../context.ts";
import { type ExportOptions, exportTo, readableSize } from "../export-file.ts";
import { CliError, EXIT } from "../failure.ts";
import { interruptible } from "../interrupt.ts";
import { counted, figure, formatBytes, printable, tally } from "../output.ts";
import { type Progress, withProgress } from "../progress.ts";
import { STANDARD } from "../written-file.ts";

export interface OfflineOptions {
  readonly data: string;
  readonly json?: boolean;
}

interface ImportOptions extends OfflineOptions {
  readonly prefix?: string;
  readonly overwrite?: true;
  readonly skipExisting?: true;
}

export function storageCommands(program: Command, context: CliContext): void {
  checkCommand(program, context);
  repairCommand(program, context);
  exportCommand(program, context);
  importCommand(program, context);
}

function checkCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("check")
    .summary("check a data directory whose node does not run")
    .description(
      "Reads everything in a data directory and checks it: checksums, journals without holes, rows and snapshots that " +
        "belong together. Changes nothing. Refuses while a node runs on it. Fails with status 8 when it finds damage.",
    )
    .addHelpText("after", "\nExample:\n  $ coppice check --data ./a");
  offline(command).action(async (options: OfflineOptions) => {
    const { data, json } = options;
    const { checkDirectory } = await import("../../daemon/offline.ts");
    const report = await withProgress(streams, options, ["checking", "groups"], (progress) =>
      interruptible((signal) => checkDirectory(data, { onProgress: tellGroups(progress), signal })),
    );
    streams.out(json === true ? `${JSON.stringify(report)}\n` : describe(report));
    if (report.damaged > 0) {
      throw new CliError(EXIT.unavailable, "CORRUPT", `${data} has damaged records; see "coppice repair"`);
    }
  });
}

function repairCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("repair")
    .summary("repair a data directory whose node does not run")
    .description(
      "Repairs what can be repaired without peers: rows are rebuilt, damaged records are moved aside and never deleted. " +
        "Groups that lost something get it from their peers once the node runs. Fails with status 8 when damage remains.",
    )
    .addHelpText("after", "\nExample:\n  $ coppice repair --data ./a");
  offline(command).action(async (options: OfflineOptions) => {
    const { data, json } = options;
    const { repairDirectory } = await import("../../daemon/offline.ts");
    const { before, after, degraded, engines } = await withProgress(
      streams,
      options,
      ["repairing", "groups"],
      (progress) => interruptible((signal) => repairDirectory(data, { onProgress: tellGroups(progress), signal })),
    );
    if (json === true) streams.out(`${JSON.stringify({ before, after, degraded, engines })}\n`);
    else {
      for (const engine of engines)
        streams.out(`${engine}: its engine could not read its own files, and has mended them\n`);
      streams.out(
        `${figure(before.damaged)} damaged before, ${figure(after.damaged)} now, ${counted(degraded.length, "group")} to get from peers\n`,
      );
      for (const group of degraded) streams.out(`degraded  ${printable(group)}\n`);
    }
    if (after.damaged > 0) throw new CliError(EXIT.unavailable, "CORRUPT", `${data} still has damaged records`);
  });
}

function exportCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("export")
    .summary("write groups into a portable file")
    .description(
      "Writes the groups of a node into a portable file: of a running node, each group whole as it is at that moment, " +
        "or of a data directory. Keys and tokens are not in it. The file is there only once it is complete.",
    )
    .argument("<file>", "the file to write, or - for standard output")
    .option("--prefix <id>", "only groups below, as for `groups`", groupId)
    .addHelpText("after", "\nExample:\n  $ coppice export words.coppice --prefix words/ --data ./a");
  withConnection(command).action(async (file: string, options: ExportOptions) => {
    await exportTo(file, options, { streams });
  });
}

function importCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("import")
    .summary("read groups from an exported file")
    .description(
      "Writes the groups of an exported file into a data directory, new or not, whose node does not run. Groups that are " +
        "there with the same content stay; one with other content ends it with status 6. Can be run again.",
    )
    .argument("<file>", "what `coppice export` wrote, or - for standard input")
    .option("--prefix <id>", "only groups below, as for `groups`", groupId)
    .option("--overwrite", "replace groups that are there with other content, here and on peers")
    .option("--skip-existing", "leave such groups alone")
    .addHelpText("after", "\nExample:\n  $ coppice import words.coppice --data ./b");
  offline(command).action(async (file: string, options: ImportOptions) => {
    const { importDirectory } = await import("../../daemon/offline.ts");
    const { data, prefix, overwrite = false, skipExisting = false } = options;
    const selection = prefix === undefined ? {} : { prefix: parseGroupId(prefix) };
    const size = await readableSize(file);
    const report = await withProgress(streams, options, ["importing", "bytes"], (progress) =>
      interruptible((signal) => {
        const onProgress = ({ bytes }: { readonly bytes: number }): void => progress.tell(bytes, size);
        const source = file === STANDARD ? process.stdin : createReadStream(file);
        return importDirectory(data, source, { ...selection, overwrite, skipExisting, onProgress, signal });
      }),
    );
    const { groups, imported, overwritten: replaced, present, skipped, deleted } = report;
    const text = `${counted(groups, "group")}: ${tally({ imported, replaced, present, skipped, deleted })}\n`;
    streams.out(options.json === true ? `${JSON.stringify(report)}\n` : text);
  });
}

/** Adds the options of commands that work on a data directory without its node. */
export function offline(command: Command): Command {
  return command
    .addOption(new Option("--data <dir>", "the data directory").env("COPPICE_DATA").makeOptionMandatory())
    .option("--json", "print JSON");
}

function tellGroups(progress: Progress): (progress: { readonly groups: number; readonly bytes?: number }) => void {
  return ({ groups, bytes }) => progress.tell(groups, 0, bytes);
}

function describe({ groups, records, bytes, damaged, findings }: CheckReport): string {
  const lines = findings.map(({ group = "", kind, reason, place }: Finding) => {
    return `${kind.padEnd(11)} ${printable(group === "" ? place : group)}: ${printable(reason)}`;
  });
  const summary = damaged === 0 ? "no damage" : tally({ damaged });
  return `${[...lines, `${counted(groups, "group")}, ${counted(records, "record")}, ${formatBytes(bytes)}: ${summary}`].join("\n")}\n`;
}
