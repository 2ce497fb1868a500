import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { GroupBody, GroupPageBody } from "../../http/api.ts";
import type { Client } from "../client.ts";
import { type CliContext, type ClientOptions, connect, groupId, parseCount, withConnection } from "../context.ts";
import { type Streams, formatBytes, printable, table } from "../output.ts";

const PAGE = 1000;
const HEAD = ["ID", "TYPE", "EVENTS", "STORED", "SNAPSHOT", "STATE"];
const WATCH_SECONDS_DEFAULT = 2;
const CLEAR_SCREEN = "\u001B[2J\u001B[H";

/** What groups can be sorted by. */
const KEYS: ReadonlyMap<string, (group: GroupBody) => string | number> = new Map<
  string,
  (group: GroupBody) => string | number
>([
  ["id", ({ id }) => id],
  ["type", ({ type }) => type],
  ["domain", ({ domain }) => domain],
  ["events", ({ events }) => events],
  ["stored", storedBytes],
  ["snapshot", ({ snapshotAt }) => snapshotAt ?? ""],
  ["state", stateOf],
]);

interface GroupsOptions extends ClientOptions {
  readonly prefix?: string;
  readonly type?: string;
  readonly state?: string;
  readonly sort?: string;
  readonly reverse?: true;
  readonly limit?: number;
  readonly watch?: number | true;
  readonly count?: number;
}

export function groupsCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("groups")
    .summary("list the groups of a node")
    .description("Lists the groups of a node, by id or as --sort says.")
    .option("--prefix <id>", '"words/" for tuples that begin with "words"; "wo" for names that do', groupId)
    .option("--type <type>", "only of this type")
    .addOption(
      new Option("--state <state>", "only in this state").choices([
        "stored",
        "loading",
        "active",
        "failed",
        "degraded",
      ]),
    )
    .addOption(new Option("--sort <column>", "what to sort by").choices([...KEYS.keys()]))
    .option("--reverse", "the other way round")
    .option("--limit <n>", "so many at most", parseCount)
    .option(
      "--watch [seconds]",
      `again and again, every ${WATCH_SECONDS_DEFAULT} seconds; as JSON what has changed`,
      parseSeconds,
    )
    .option("--count <n>", "with --watch: end after so many times", parseCount)
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice groups --data ./a --prefix words/\n" +
        "  $ coppice groups --data ./a --sort stored --reverse --limit 10\n  $ coppice groups --data ./a --state degraded --watch",
    );
  withConnection(command).action(async (options: GroupsOptions) => {
    if (options.watch === undefined) show(streams, options, await selected(options));
    else await watch(streams, options, options.watch === true ? WATCH_SECONDS_DEFAULT : options.watch);
  });
}

async function watch(streams: Streams, options: GroupsOptions, seconds: number): Promise<void> {
  let known = new Map<string, string>();
  for (let left = options.count ?? Number.POSITIVE_INFINITY; left > 0; left--) {
    const groups = await selected(options);
    if (options.json === true) known = tellChanges(streams, known, groups);
    else {
      if (streams.isTerminal) streams.out(CLEAR_SCREEN);
      show(streams, options, groups);
    }
    if (left > 1) await sleep(seconds * 1000);
  }
}

/** One line for each group that is new or another than before, and for each that is gone. */
function tellChanges(
  streams: Streams,
  before: ReadonlyMap<string, string>,
  groups: readonly GroupBody[],
): Map<string, string> {
  const now = new Map(groups.map((group) => [group.id, JSON.stringify(group)]));
  for (const [id, line] of now) if (before.get(id) !== line) streams.out(`${line}\n`);
  for (const id of before.keys()) if (!now.has(id)) streams.out(`${JSON.stringify({ id, gone: true })}\n`);
  return now;
}

function show(streams: Streams, { json }: GroupsOptions, groups: readonly GroupBody[]): void {
  if (json === true) for (const group of groups) streams.out(`${JSON.stringify(group)}\n`);
  else streams.out(groups.length === 0 ? "no groups\n" : table(HEAD, groups.map(row)));
}

async function selected(options: GroupsOptions): Promise<readonly GroupBody[]> {
  const { prefix, type, state, sort, reverse, limit } = options;
  const client = await connect(options);
  const groups: GroupBody[] = [];
  // Sorted by id already: then no more need be asked for than are shown.
  const isEnough = (): boolean =>
    sort === undefined && reverse !== true && groups.length >= (limit ?? Number.POSITIVE_INFINITY);
  for await (const group of listGroups(client, prefix)) {
    const isInState = state === undefined || (state === "degraded" ? group.degraded : group.phase === state);
    if (isInState && (type === undefined || group.type === type)) groups.push(group);
    if (isEnough()) break;
  }
  const keyOf = KEYS.get(sort ?? "id");
  if (sort !== undefined && keyOf !== undefined)
    groups.sort((left, right) => (keyOf(left) < keyOf(right) ? -1 : keyOf(left) > keyOf(right) ? 1 : 0));
  if (reverse === true) groups.reverse();
  return groups.slice(0, limit);
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
  const stored = formatBytes(storedBytes(group));
  return [printable(group.id), group.type, group.events, stored, group.snapshotAt ?? "never", stateOf(group)];
}

function storedBytes({ snapshotBytes, journalBytes }: GroupBody): number {
  return snapshotBytes + journalBytes;
}

function stateOf({ degraded, phase }: GroupBody): string {
  return degraded ? `${phase}, degraded` : phase;
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (seconds >= 0.1 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError("It must be a number of seconds, at least 0.1.");
}
