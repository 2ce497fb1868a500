import type { Command } from "commander";
import { environmentName } from "../../daemon/settings.ts";
import type { CliContext } from "../context.ts";
import { table } from "../output.ts";
import { daemonOptions, resolve, withSettings } from "./start.ts";
import { settingsOf } from "../../daemon/settings.ts";

interface ConfigFlags {
  readonly json?: boolean;
  readonly config?: string;
  readonly [name: string]: unknown;
}

export function configCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("config")
    .summary("show the settings that a start would use")
    .description("Shows the settings that `coppice start` would use with the same options, and where each comes from.")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  $ COPPICE_DATA=./a coppice config --durability sync");
  withSettings(command).action(async (flags: ConfigFlags) => {
    const resolved = await resolve(flags);
    if (settingsOf(resolved).data !== undefined) daemonOptions(settingsOf(resolved));
    if (flags.json === true) {
      const entries = resolved.map(({ setting, value, source }) => [setting.name, { value: value ?? null, source }]);
      streams.out(`${JSON.stringify(Object.fromEntries(entries))}\n`);
      return;
    }
    const rows = resolved.map(({ setting, value, source }) => [
      setting.name,
      value === undefined ? "-" : JSON.stringify(value),
      source,
      environmentName(setting.name),
    ]);
    streams.out(table(["SETTING", "VALUE", "FROM", "VARIABLE"], rows));
  });
}
