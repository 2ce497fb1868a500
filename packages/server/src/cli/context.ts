import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { parseGroupId } from "@coppice/storage";
import { didYouMean } from "../suggest.ts";
import type { GroupPageBody } from "../http/api.ts";
import { Client, type ConnectionOptions, findNode } from "./client.ts";
import { CliError } from "./failure.ts";
import type { Streams } from "./output.ts";

/** What a command gets. */
export interface CliContext {
  readonly streams: Streams;
}

export interface ClientOptions extends ConnectionOptions {
  readonly json?: boolean;
}

const TIMEOUT_MS_DEFAULT = 30_000;
const SUGGESTION_GROUPS = 1000;

/** Adds the options of every command that talks to a running node. */
export function withConnection(command: Command): Command {
  return command
    .addOption(new Option("--data <dir>", "the node's data directory").env("COPPICE_DATA"))
    .addOption(new Option("--url <url>", "the node's HTTP address, instead of looking it up").env("COPPICE_URL"))
    .addOption(new Option("--token-file <file>", "default: the one in the data directory").env("COPPICE_TOKEN_FILE"))
    .option("--timeout <ms>", "longest wait for an answer", parseTimeout, TIMEOUT_MS_DEFAULT)
    .option("--json", "print JSON, one object a line");
}

/** A client for the node that the options name. */
export async function connect(options: ClientOptions): Promise<Client> {
  return new Client(await findNode(options));
}

/** For arguments that are group ids: refuses at once what no node could know. */
export function groupId(text: string): string {
  try {
    parseGroupId(text);
    return text;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidArgumentError(`${reason}. Ids look like "name", "words/a" or "counter/:7".`);
  }
}

/** For options that are a whole number of milliseconds. */
export function parseTimeout(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0 && value <= 2 ** 31 - 1) return value;
  throw new InvalidArgumentError("It must be a positive whole number of milliseconds.");
}

/** For options that are a whole number above 0. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("It must be a positive whole number.");
}

/** Runs a request about one group; when there is no such group, says which one may have been meant. */
export async function aboutGroup<R>(client: Client, id: string, request: () => Promise<R>): Promise<R> {
  try {
    return await request();
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== "UNKNOWN_GROUP") throw error;
    const page = await client.request<GroupPageBody>("GET", `/v1/groups?limit=${SUGGESTION_GROUPS}`);
    const ids = page.groups.map((group) => group.id);
    const suggestion = didYouMean(id, ids);
    if (suggestion === "") throw error;
    throw new CliError(error.status, error.code, `${error.message}.${suggestion}`, { cause: error });
  }
}
