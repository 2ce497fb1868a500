/** Commands that change a group: any operation by name, and short forms for the common ones. */
import { type Command, InvalidArgumentError } from "commander";
import { domainOf, parseGroupId } from "@coppice/storage";
import type { DomainsBody, GroupBody, OperationsBody } from "../../http/api.ts";
import type { Operation, PathStep } from "../../http/operations.ts";
import { type Client, groupPath } from "../client.ts";
import { type CliContext, type ClientOptions, aboutGroup, connect, groupId, withConnection } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { display } from "../output.ts";

type Ack = "memory" | "log" | "sync" | { readonly replicas: number | "majority" | "all" };

interface ChangeOptions extends ClientOptions {
  readonly ack?: Ack;
  readonly type?: string;
  readonly at?: readonly PathStep[];
  readonly recreate?: true;
}

/** The part of the time limit that the node may use. */
const ANSWER_SHARE = 0.8;

/** The operation that adds to a group of a type. */
const ADDING: ReadonlyMap<string, string> = new Map([
  ["gcounter", "increment"],
  ["pncounter", "increment"],
  ["gset", "add"],
  ["twopset", "add"],
  ["orset", "add"],
  ["rwset", "add"],
  ["orlog", "append"],
]);

const RECREATE = ["--recreate", "begin a deleted group anew, on every peer"] as const;

export function changeCommands(program: Command, context: CliContext): void {
  addCommand(program, context);
  setCommand(program, context);
  removeCommand(program, context);
  doCommand(program, context);
  deleteCommand(program, context);
}

function addCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("add")
    .summary("add to a counter, a set or a log")
    .description(
      "Adds to a counter and prints its new value; or an element to a set or a log. Without --type, a group that " +
        "does not exist is created as a grow-only counter.",
    )
    .argument("<id>", "the group, such as counter/views", groupId)
    .argument("[amount]", "a whole number, or an element: JSON, or else a text", "1")
    .option("--type <type>", "the type to create the group with")
    .option(...RECREATE)
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice add counter/views 5 --data ./a\n  $ coppice add tags red --type orset --data ./a",
    );
  withConnection(withAck(command)).action(async (id: string, text: string, options: ChangeOptions) => {
    const client = await connect(options);
    const type = await typeOf(client, id, options, "gcounter");
    // For any other type the node says what it can do.
    const op = ADDING.get(type) ?? "add";
    const argument = op === "increment" ? wholeNumber(text) : jsonOrText(text);
    const body = await change(client, id, { ...options, type }, [{ op, args: [argument] }]);
    if (options.json === true) streams.out(`${JSON.stringify({ id, value: body.value, digest: body.digest })}\n`);
    else if (op === "increment") streams.out(`${String(body.value)}\n`);
  });
}

function setCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("set")
    .summary("set a register, or a key of a map")
    .description("Sets a register, or with a key the key of a map of values. Values are JSON, or else texts.")
    .argument("<id>", "the group, such as user/name", groupId)
    .argument("<key-or-value>", "the value; or the key, when a value follows")
    .argument("[value]", "the value of the key")
    .option("--type <type>", "the type to create the group with; default: lww, with a key lwwmap")
    .option(...RECREATE)
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice set title Hello --data ./a\n  $ coppice set user/ann age 42 --data ./a",
    );
  withConnection(withAck(command)).action(
    async (id: string, first: string, second: string | undefined, options: ChangeOptions) => {
      const args = second === undefined ? [jsonOrText(first)] : [first, jsonOrText(second)];
      const client = await connect(options);
      const type = await typeOf(client, id, options, second === undefined ? "lww" : "lwwmap");
      const body = await change(client, id, { ...options, type }, [{ op: "set", args }]);
      if (options.json === true) streams.out(`${JSON.stringify({ id, digest: body.digest })}\n`);
    },
  );
}

function removeCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("remove")
    .summary("remove a key of a map, or an element of a set")
    .description("Removes a key of a map or an element of a set: JSON, or else a text.")
    .argument("<id>", "the group", groupId)
    .argument("<key>", "the key or element")
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice remove user/ann tags --data ./a\n  $ coppice remove tags red --data ./a",
    );
  withConnection(withAck(command)).action(async (id: string, text: string, options: ChangeOptions) => {
    const client = await connect(options);
    const { type } = await aboutGroup(client, id, () => client.request<GroupBody>("GET", groupPath(id)));
    const argument = type.includes("map") || type === "struct" ? text : jsonOrText(text);
    const body = await change(client, id, options, [{ op: "delete", args: [argument] }]);
    if (options.json === true) streams.out(`${JSON.stringify({ id, digest: body.digest })}\n`);
  });
}

function doCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("do")
    .summary("perform any operation of a group's type")
    .description("Performs an operation by its name and prints what it returns. `coppice types` lists the operations.")
    .argument("<id>", "the group", groupId)
    .argument("<operation>", "such as increment")
    .argument("[argument...]", "JSON, or else texts")
    .option("--type <type>", "the type to create the group with")
    .option("--at <step...>", "a way into a nested type: KEY:TYPE each, or KEY for a map", collectStep)
    .option(...RECREATE)
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice do switch enable --type ewflag --data ./a\n" +
        "  $ coppice do words/a increment 2 --type struct --at words the:gcounter --data ./a",
    );
  withConnection(withAck(command)).action(
    async (id: string, op: string, texts: readonly string[], options: ChangeOptions) => {
      const client = await connect(options);
      const path = options.at === undefined ? {} : { path: options.at };
      const body = await change(client, id, options, [{ ...path, op, args: texts.map(jsonOrText) }]);
      const [result] = body.results;
      if (options.json === true) streams.out(`${JSON.stringify({ id, result, digest: body.digest })}\n`);
      else if (result !== null) streams.out(`${display(result)}\n`);
    },
  );
}

function deleteCommand(program: Command, _context: CliContext): void {
  const command = program
    .command("delete")
    .summary("delete a group, here and on every peer")
    .description("Deletes a group, here and on every peer, those that are away included. It does not come back.")
    .argument("<id>", "the group", groupId)
    .addHelpText("after", "\nExample:\n  $ coppice delete counter/views --data ./a");
  withConnection(command).action(async (id: string, options: ClientOptions) => {
    const client = await connect(options);
    await aboutGroup(client, id, () => client.request("DELETE", groupPath(id)));
  });
}

function withAck(command: Command): Command {
  return command.option(
    "--ack <level>",
    "what to wait for: memory, log, sync, a number of peers, majority, or all",
    parseAck,
  );
}

/** What the group is decides; for one that does not exist what was asked for, else its domain, else `fallback`. */
async function typeOf(
  client: Client,
  id: string,
  { type: asked, recreate }: ChangeOptions,
  fallback: string,
): Promise<string> {
  try {
    return (await client.request<GroupBody>("GET", groupPath(id))).type;
  } catch (error) {
    if (isDeleted(error) && recreate !== true) throw deleted(id, error);
    if (!isDeleted(error) && !(error instanceof CliError && error.code === "UNKNOWN_GROUP")) throw error;
  }
  if (asked !== undefined) return asked;
  const { domains } = await client.request<DomainsBody>("GET", "/v1/domains");
  const name = domainOf(parseGroupId(id));
  return domains.find((domain) => domain.name === name)?.type ?? fallback;
}

async function change(
  client: Client,
  id: string,
  { ack, type, recreate, timeout }: ChangeOptions,
  operations: readonly Operation[],
): Promise<OperationsBody> {
  const body = {
    operations,
    value: true,
    // Sooner than this side gives up: only the node can say that the write is applied nevertheless.
    timeoutMs: Math.ceil(timeout * ANSWER_SHARE),
    ...(type === undefined ? {} : { type }),
    ...(ack === undefined ? {} : { ack }),
    ...(recreate === undefined ? {} : { recreate }),
  };
  const path = groupPath(id, "/operations");
  try {
    return await aboutGroup(client, id, () => client.request<OperationsBody>("POST", path, body));
  } catch (error) {
    throw isDeleted(error) ? deleted(id, error) : error;
  }
}

function isDeleted(error: unknown): boolean {
  return error instanceof CliError && error.code === "GROUP_DELETED";
}

function deleted(id: string, cause: unknown): CliError {
  const advice = "add, set and do begin it anew with --recreate";
  return new CliError(EXIT.conflict, "GROUP_DELETED", `the group ${id} was deleted; ${advice}`, { cause });
}

function wholeNumber(text: string): number {
  const amount = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(amount)) return amount;
  throw new CliError(EXIT.usage, "INVALID_OPERATION", `the amount must be a whole number, not ${JSON.stringify(text)}`);
}

/** What is typed on a command line: `5` is a number, `{"a": 1}` an object, `red` a text, `"5"` a text. */
function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function collectStep(text: string, before: readonly PathStep[] = []): readonly PathStep[] {
  const at = text.lastIndexOf(":");
  return [...before, at <= 0 ? text : { key: text.slice(0, at), type: text.slice(at + 1) }];
}

function parseAck(text: string): Ack {
  if (text === "memory" || text === "log" || text === "sync") return text;
  if (text === "majority" || text === "all") return { replicas: text };
  const replicas = Number(text);
  if (Number.isSafeInteger(replicas) && replicas > 0) return { replicas };
  throw new InvalidArgumentError("It must be memory, log, sync, a number of peers, majority, or all.");
}
