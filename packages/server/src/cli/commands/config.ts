import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { table } from "../output.ts";
import { daemonOptions, resolve, withSettings } from "./start.ts";
import { availableTypes, checkDomainTypes } from "../../daemon/types.ts";
import { settingsOf } from "../../daemon/settings.ts";

interface ConfigFlags {
  readonly json?: boolean;
  readonly config?: string;
  readonly [name: string]: unknown;
}

const SECRET = "(secret)";

export function configCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("config")
    .summary("show the settings that a start would use")
    .description("Shows the settings that `coppice start` would use with the same options, and where each comes from.")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  $ COPPICE_DATA=./a coppice config --durability sync");
  withSettings(command).action(async (flags: ConfigFlags) => {
    const resolved = await resolve(flags);
    const settings = settingsOf(resolved);
    checkDomainTypes(settings.domains, await availableTypes());
    if (settings.data !== undefined) await daemonOptions(settings);
    if (flags.json === true) {
      const entries = resolved.map(({ name, value, source, isSecret }) => {
        return [name, { value: value === undefined ? null : isSecret === true ? SECRET : value, source }];
      });
      streams.out(`${JSON.stringify(Object.fromEntries(entries))}\n`);
      return;
    }
    const rows = resolved.map(({ name, value, source, variable, isSecret }) => [
      name,
      value === undefined ? "-" : isSecret === true ? SECRET : JSON.stringify(value),
      source,
      variable,
    ]);
    streams.out(table(["SETTING", "VALUE", "FROM", "VARIABLE"], rows));
  });
}
