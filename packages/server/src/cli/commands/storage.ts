/** Commands about what is stored: checking, repairing, and carrying it elsewhere. */
import { createReadStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { type Command, Option } from "commander";
import { parseGroupId } from "@coppice/storage";
import type { CheckReport, Finding } from "@coppice/storage";
import { readEndpoint } from "../../daemon/files.ts";
import { type CliContext, type ClientOptions, connect, groupId, withConnection } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { formatBytes, printable } from "../output.ts";

interface OfflineOptions {
  readonly data: string;
  readonly json?: boolean;
}

interface ExportOptions extends ClientOptions {
  readonly prefix?: string;
}

interface ImportOptions extends OfflineOptions {
  readonly prefix?: string;
  readonly skipExisting?: true;
}

const PRIVATE = 0o600;

export function storageCommands(program: Command, context: CliContext): void {
  verifyCommand(program, context);
  repairCommand(program, context);
  exportCommand(program, context);
  importCommand(program, context);
}

function verifyCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("verify")
    .alias("check")
    .summary("check a data directory whose node does not run")
    .description(
      "Reads everything in a data directory and checks it: checksums, journals without holes, rows and snapshots that " +
        "belong together. Changes nothing. Refuses while a node runs on it. Fails with status 8 when it finds damage.",
    );
  offline(command).action(async ({ data, json }: OfflineOptions) => {
    const { checkDirectory } = await import("../../daemon/offline.ts");
    const report = await checkDirectory(data);
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
    );
  offline(command).action(async ({ data, json }: OfflineOptions) => {
    const { repairDirectory } = await import("../../daemon/offline.ts");
    const { before, after, degraded } = await repairDirectory(data);
    if (json === true) streams.out(`${JSON.stringify({ before, after, degraded })}\n`);
    else {
      streams.out(
        `${before.damaged} damaged before, ${after.damaged} now, ${degraded.length} groups need their peers\n`,
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
    .argument("<file>", "the file to write")
    .option("--prefix <id>", "only groups below, as for `groups`", groupId)
    .addHelpText("after", "\nExample, a backup of a running node:\n  $ coppice export monday.coppice --data ./a");
  withConnection(command).action(async (file: string, options: ExportOptions) => {
    const bytes = await writeWhole(file, await exported(options));
    streams.out(options.json === true ? `${JSON.stringify({ file, bytes })}\n` : `${file}: ${formatBytes(bytes)}\n`);
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
    .argument("<file>", "what `coppice export` wrote")
    .option("--prefix <id>", "only groups below, as for `groups`", groupId)
    .option("--skip-existing", "leave groups with other content alone");
  offline(command).action(async (file: string, options: ImportOptions) => {
    const { importDirectory } = await import("../../daemon/offline.ts");
    const { data, prefix, skipExisting = false } = options;
    const selection = prefix === undefined ? {} : { prefix: parseGroupId(prefix) };
    const report = await importDirectory(data, createReadStream(file), { ...selection, skipExisting });
    const { groups, imported, present, skipped, deleted } = report;
    const text = `${groups} groups: ${imported} imported, ${present} present, ${skipped} skipped, ${deleted} deleted\n`;
    streams.out(options.json === true ? `${JSON.stringify(report)}\n` : text);
  });
}

function offline(command: Command): Command {
  return command
    .addOption(new Option("--data <dir>", "the data directory").env("COPPICE_DATA").makeOptionMandatory())
    .option("--json", "print JSON");
}

/** From the node when one runs, else from its directory. */
async function exported(options: ExportOptions): Promise<AsyncIterable<Uint8Array>> {
  const { data, url, prefix } = options;
  if (url === undefined && data !== undefined && (await readEndpoint(data)) === undefined) {
    const { exportDirectory } = await import("../../daemon/offline.ts");
    return exportDirectory(data, prefix === undefined ? {} : { prefix: parseGroupId(prefix) });
  }
  const client = await connect(options);
  const query = prefix === undefined ? "" : `?${new URLSearchParams({ prefix }).toString()}`;
  const { body } = await client.stream(`/v1/export${query}`);
  if (body === null) throw new CliError(EXIT.unreachable, "UNREACHABLE", "the node answered without a stream");
  return body;
}

/** Under another name until it is complete: half a backup looks like none. */
async function writeWhole(path: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const draft = `${path}.part`;
  let bytes = 0;
  try {
    const file = await open(draft, "w", PRIVATE);
    try {
      for await (const chunk of chunks) {
        await file.writeFile(chunk);
        bytes += chunk.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return bytes;
}

function describe({ groups, records, bytes, damaged, findings }: CheckReport): string {
  const lines = findings.map(({ group = "", kind, reason, place }: Finding) => {
    return `${kind.padEnd(11)} ${printable(group === "" ? place : group)}: ${printable(reason)}`;
  });
  const summary = damaged === 0 ? "no damage" : `${damaged} damaged`;
  return `${[...lines, `${groups} groups, ${records} records, ${formatBytes(bytes)}: ${summary}`].join("\n")}\n`;
}
