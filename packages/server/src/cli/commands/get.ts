import { type Command, InvalidArgumentError } from "commander";
import type { ValueBody } from "../../http/api.ts";
import { groupPath } from "../client.ts";
import { type CliContext, type ClientOptions, aboutGroup, connect, groupId, withConnection } from "../context.ts";
import { display } from "../output.ts";

interface GetOptions extends ClientOptions {
  readonly consistency?: string;
}

export function getCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("get")
    .summary("print a group's value")
    .description("Prints the value of a group, or of what stands in it under the keys.")
    .argument("<id>", "the group, such as counter/views", groupId)
    .argument("[key...]", "a way into the value, key by key")
    .option(
      "--consistency <level>",
      "whom to hear first: a number of peers, or majority or all of the roster",
      parseConsistency,
    )
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice get counter/views --data ./a\n  $ coppice get words/a words the --data ./a",
    );
  withConnection(command).action(async (id: string, keys: readonly string[], options: GetOptions) => {
    const client = await connect(options);
    const { consistency, timeout } = options;
    const search = new URLSearchParams(keys.map((key): [string, string] => ["key", key]));
    if (consistency !== undefined) {
      search.set("consistency", consistency);
      // Sooner than this side gives up: the node can say who is missing.
      search.set("timeoutMs", String(Math.ceil(timeout * 0.8)));
    }
    const query = search.toString();
    const path = groupPath(id, query === "" ? "/value" : `/value?${query}`);
    const body = await aboutGroup(client, id, () => client.request<ValueBody>("GET", path));
    streams.out(`${options.json === true ? JSON.stringify(body) : display(body.value)}\n`);
  });
}

function parseConsistency(text: string): string {
  if (/^(?:local|majority|all|[1-9]\d{0,3})$/.test(text)) return text;
  throw new InvalidArgumentError("It must be local, a number of peers, majority, or all.");
}
