import { Command, CommanderError } from "commander";
import { VERSION } from "../version.ts";
import { backupCommands } from "./commands/backup.ts";
import { benchCommand } from "./commands/bench.ts";
import { changeCommands } from "./commands/change.ts";
import { completionCommand } from "./commands/completion.ts";
import { configCommand } from "./commands/config.ts";
import { dashboardCommand } from "./commands/dashboard.ts";
import { getCommand } from "./commands/get.ts";
import { groupsCommand } from "./commands/groups.ts";
import { inviteCommand } from "./commands/invite.ts";
import { networkKeyCommand } from "./commands/network-key.ts";
import { nodeCommands } from "./commands/node.ts";
import { startCommand } from "./commands/start.ts";
import { storageCommands } from "./commands/storage.ts";
import { tokenCommand } from "./commands/token.ts";
import { watchCommand } from "./commands/watch.ts";
import type { CliContext } from "./context.ts";
import { CliError, EXIT, toCliError } from "./failure.ts";
import type { Streams } from "./output.ts";

const STATUSES = `
Exit statuses:
  0  done                                     5  no such group, peer or view
  1  failed                                   6  conflict: other type, deleted, taken
  2  wrong arguments or settings              7  applied, but not acknowledged as asked
  3  no node answers                          8  not possible now: storage, peers, time
  4  refused: token or permission           130 interrupted

COPPICE_DATA names the data directory where --data does not.`;

/** The command line. Each command has its file in `commands`. What is wrong with its use is told to `misuse`. */
export function createProgram(streams: Streams, misuse: (text: string) => void = streams.err): Command {
  const context: CliContext = { streams };
  const program = new Command("coppice")
    .description("Replicated counters, maps and documents: runs a node, and talks to a running one.")
    .version(VERSION, "-V, --version")
    .configureOutput({ writeOut: streams.out, writeErr: misuse })
    .showHelpAfterError("(coppice --help lists the commands, coppice COMMAND --help its options)")
    .addHelpText("after", STATUSES)
    .exitOverride();
  startCommand(program, context);
  groupsCommand(program, context);
  getCommand(program, context);
  watchCommand(program, context);
  changeCommands(program, context);
  nodeCommands(program, context);
  dashboardCommand(program, context);
  storageCommands(program, context);
  backupCommands(program, context);
  tokenCommand(program, context);
  inviteCommand(program, context);
  benchCommand(program, context);
  configCommand(program, context);
  networkKeyCommand(program, context);
  completionCommand(program, context);
  return program;
}

/** Runs a command line and returns its exit status. Never throws. */
export async function run(args: readonly string[], streams: Streams): Promise<number> {
  const json = args.includes("--json");
  const tell = ({ status, code, message }: CliError): number => {
    streams.err(json ? `${JSON.stringify({ error: { code, message } })}\n` : `error: ${message} (${code})\n`);
    return status;
  };
  try {
    // For people, commander writes its own messages, with a hint.
    await createProgram(streams, json ? () => {} : streams.err).parseAsync(args, { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof CommanderError)) return tell(toCliError(error));
    // A help text is no failure.
    if (error.exitCode === 0) return EXIT.ok;
    return json ? tell(misused(error)) : EXIT.usage;
  }
}

function misused({ message }: CommanderError): CliError {
  return new CliError(EXIT.usage, "INVALID_OPTIONS", message.replace(/^error: /, ""));
}
