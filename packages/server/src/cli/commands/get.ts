import type { Command } from "commander";
import type { ValueBody } from "../../http/api.ts";
import { groupPath } from "../client.ts";
import { type CliContext, type ClientOptions, aboutGroup, connect, groupId, withConnection } from "../context.ts";
import { display } from "../output.ts";

export function getCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("get")
    .summary("print a group's value")
    .description("Prints the value of a group, or of what stands in it under the keys.")
    .argument("<id>", "the group, such as counter/views", groupId)
    .argument("[key...]", "a way into the value, key by key")
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice get counter/views --data ./a\n  $ coppice get words/a words the --data ./a",
    );
  withConnection(command).action(async (id: string, keys: readonly string[], options: ClientOptions) => {
    const client = await connect(options);
    const query = new URLSearchParams(keys.map((key): [string, string] => ["key", key])).toString();
    const path = groupPath(id, query === "" ? "/value" : `/value?${query}`);
    const body = await aboutGroup(client, id, () => client.request<ValueBody>("GET", path));
    streams.out(`${options.json === true ? JSON.stringify(body) : display(body.value)}\n`);
  });
}
