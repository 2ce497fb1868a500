/** Tokens: of a running node over its server, else in its data directory. */
import { stat } from "node:fs/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Scope } from "../../auth/grant.ts";
import { readTokenText, readTokens } from "../../auth/token-files.ts";
import { TokenStore } from "../../auth/token-store.ts";
import { tokenPath } from "../../daemon/files.ts";
import type { NewTokenBody, TokenBody, TokensBody } from "../../http/api.ts";
import { tokenBody } from "../../http/token-body.ts";
import { isServed } from "../client.ts";
import { type CliContext, type ClientOptions, connect, withConnection } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { printable, table } from "../output.ts";

interface CreateOptions extends ClientOptions {
  readonly scope: Scope;
  readonly domain?: readonly string[];
  readonly label?: string;
  /** Seconds. */
  readonly expires?: number;
}

/** What the commands ask for, of whatever has the tokens. */
interface Tokens {
  create(options: CreateOptions): Promise<NewTokenBody>;
  list(): Promise<readonly TokenBody[]>;
  revoke(id: string): Promise<void>;
}

const SECONDS: { readonly [unit: string]: number } = { s: 1, m: 60, h: 3600, d: 86_400 };

export function tokenCommand(program: Command, context: CliContext): void {
  const command = program
    .command("token")
    .summary("make, list and revoke tokens")
    .description("Makes, lists and revokes the tokens that a node's server accepts.")
    .addHelpText("after", "\nExample:\n  $ coppice token list --data ./a");
  createCommand(command, context);
  listCommand(command, context);
  revokeCommand(command);
}

function createCommand(parent: Command, { streams }: CliContext): void {
  const command = parent
    .command("create")
    .summary("make a token and print it")
    .description("Makes a token and prints it. It cannot be shown again.")
    .addOption(
      new Option("--scope <scope>", "read; write, to change groups too; admin, to run the node too")
        .choices(["read", "write", "admin"])
        .default("read"),
    )
    .option("--domain <name...>", "good only for groups whose id begins with one of these; without it, for all")
    .option("--label <text>", "what it is for")
    .option("--expires <time>", "how long it is good for, such as 90m, 12h or 30d; without it, for ever", parseDuration)
    .addHelpText(
      "after",
      "\nExample:\n  $ coppice token create --scope write --domain notes --expires 30d --label ann",
    );
  withConnection(command).action(async (options: CreateOptions) => {
    const created = await (await tokensOf(options)).create(options);
    streams.out(options.json === true ? `${JSON.stringify(created)}\n` : `${created.token}\n`);
  });
}

function listCommand(parent: Command, { streams }: CliContext): void {
  const command = parent
    .command("list")
    .summary("list the tokens, without their secrets")
    .description("Lists the tokens, without their secrets.");
  withConnection(command).action(async (options: ClientOptions) => {
    const tokens = await (await tokensOf(options)).list();
    if (options.json === true) {
      for (const token of tokens) streams.out(`${JSON.stringify(token)}\n`);
      return;
    }
    const rows = tokens.map(({ id, scope, domains, expiresAt, label }) => {
      const reach =
        domains === null ? "all" : domains.map((domain) => printable(domain === "" ? '""' : domain)).join(", ");
      return [id, scope, reach, expiresAt ?? "never", printable(label)];
    });
    streams.out(table(["ID", "SCOPE", "DOMAINS", "EXPIRES", "LABEL"], rows));
  });
}

function revokeCommand(parent: Command): void {
  const command = parent
    .command("revoke")
    .summary("end a token at once")
    .description("Ends a token at once, with the streams opened by it. One that is in a file is replaced there.")
    .argument("<id>", "as `coppice token list` shows it");
  withConnection(command).action(async (id: string, options: ClientOptions) => {
    await (await tokensOf(options)).revoke(id);
  });
}

async function tokensOf(options: ClientOptions): Promise<Tokens> {
  const { data, url } = options;
  if (url === undefined && data !== undefined && (await isStopped(data))) return await offline(data);
  const client = await connect(options);
  return {
    create: async ({ scope, domain, label, expires }) =>
      await client.request<NewTokenBody>("POST", "/v1/tokens", {
        scope,
        ...(label === undefined ? {} : { label }),
        ...(domain === undefined ? {} : { domains: domain }),
        ...(expires === undefined ? {} : { expiresInSeconds: expires }),
      }),
    list: async () => (await client.request<TokensBody>("GET", "/v1/tokens")).tokens,
    revoke: async (id) => await client.request("DELETE", `/v1/tokens/${encodeURIComponent(id)}`),
  };
}

async function isStopped(data: string): Promise<boolean> {
  return (await stat(data).catch(() => undefined)) !== undefined && !(await isServed(data));
}

/** No node runs: whoever may write into the directory decides. Where none ever ran, nothing is made. */
async function offline(data: string): Promise<Tokens> {
  if ((await readTokens(data)).length === 0 && (await readTokenText(tokenPath(data))) === undefined) {
    throw new CliError(EXIT.usage, "INVALID_OPTIONS", `${data} is no data directory of a node`);
  }
  const store = await TokenStore.open(data);
  return {
    create: async ({ scope, domain, label, expires }) => {
      const { info, text } = await store.create({
        scope,
        ...(label === undefined ? {} : { label }),
        ...(domain === undefined ? {} : { domains: domain }),
        ...(expires === undefined ? {} : { expiresAt: Date.now() + expires * 1000 }),
      });
      return { token: text, ...tokenBody(info) };
    },
    list: async () => store.list().map(tokenBody),
    revoke: async (id) => {
      if (!(await store.revoke(id))) throw new CliError(EXIT.notFound, "NOT_FOUND", `no token has the id ${id}`);
    },
  };
}

/** Seconds of a text such as `30d`. */
export function parseDuration(text: string): number {
  const [, amount = "", unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const seconds = Number(amount) * (SECONDS[unit] ?? 0);
  if (seconds > 0) return seconds;
  throw new InvalidArgumentError("It must be a number and s, m, h or d, such as 30d.");
}
