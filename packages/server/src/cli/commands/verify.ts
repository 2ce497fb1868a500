import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { printable } from "../output.ts";

interface VerifyOptions {
  readonly data?: string;
  readonly json?: boolean;
}

export function verifyCommand(program: Command, { streams }: CliContext): void {
  program
    .command("verify")
    .alias("check")
    .summary("check a data directory whose node does not run")
    .description(
      "Reads every stored group of a data directory and checks it: checksums, journals without holes, states that can " +
        "be decoded. Refuses while a node has the directory open. Fails with status 8 when something is damaged.",
    )
    .requiredOption("--data <dir>", "the data directory", process.env["COPPICE_DATA"])
    .option("--json", "print JSON, one object a line")
    .action(async (options: Required<VerifyOptions>) => {
      const { verifyDirectory } = await import("../../daemon/verify.ts");
      const report = await verifyDirectory(options.data, {
        onFinding: (finding) => {
          const { id, record, reason } = finding;
          const text = `${printable(id)}: ${record}: ${printable(reason)}\n`;
          streams.out(options.json ? `${JSON.stringify(finding)}\n` : text);
        },
      });
      const { groups, events, findings } = report;
      if (options.json) streams.out(`${JSON.stringify(report)}\n`);
      else
        streams.out(`${groups} groups, ${events} events, ${findings === 0 ? "no damage" : `${findings} findings`}\n`);
      if (findings > 0) throw new CliError(EXIT.unavailable, "CORRUPT", `${options.data} has damaged records`);
    });
}
