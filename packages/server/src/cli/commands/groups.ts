import type { Command } from "commander";
import type { GroupBody, GroupPageBody } from "../../http/api.ts";
import type { Client } from "../client.ts";
import { type CliContext, type ClientOptions, connect, groupId, withConnection } from "../context.ts";
import { formatBytes, printable, table } from "../output.ts";

const PAGE = 1000;
const HEAD = ["ID", "TYPE", "EVENTS", "STORED", "SNAPSHOT", "STATE"];

interface GroupsOptions extends ClientOptions {
  readonly prefix?: string;
}

export function groupsCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("groups")
    .summary("list the groups of a node")
    .description("Lists the groups of a node, by id.")
    .option("--prefix <id>", '"words/" for tuples that begin with "words"; "wo" for names that do', groupId)
    .addHelpText("after", "\nExample:\n  $ coppice groups --data ./a --prefix words/");
  withConnection(command).action(async (options: GroupsOptions) => {
    const client = await connect(options);
    const rows: (string | number)[][] = [];
    for await (const group of listGroups(client, options.prefix)) {
      if (options.json === true) streams.out(`${JSON.stringify(group)}\n`);
      else rows.push(row(group));
    }
    if (options.json !== true) streams.out(rows.length === 0 ? "no groups\n" : table(HEAD, rows));
  });
}

/** Every group of a node, page by page. */
export async function* listGroups(client: Client, prefix?: string): AsyncGenerator<GroupBody, void, undefined> {
  const query = new URLSearchParams({ limit: String(PAGE), ...(prefix === undefined ? {} : { prefix }) });
  for (;;) {
    const page = await client.request<GroupPageBody>("GET", `/v1/groups?${query.toString()}`);
    yield* page.groups;
    if (page.next === null) return;
    query.set("after", page.next);
  }
}

function row(group: GroupBody): (string | number)[] {
  const state = group.degraded ? `${group.phase}, degraded` : group.phase;
  const stored = formatBytes(group.snapshotBytes + group.journalBytes);
  return [printable(group.id), group.type, group.events, stored, group.snapshotAt ?? "never", state];
}
