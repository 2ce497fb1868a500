import { join } from "node:path";
import { ServerError } from "../error.ts";
import { readIfThere, readPrivate, writePrivate } from "@coppice/storage/private-file";
import { SCOPES, type Scope, type TokenInfo } from "./grant.ts";
import { tokenId } from "./token-text.ts";

/** A token as it is kept at rest. */
export interface StoredToken extends TokenInfo {
  readonly hash: Buffer;
  /** The file that holds its text, if one does. */
  readonly file: string | undefined;
}

const VERSION = 1;

/** The text in a token file; undefined when there is none. */
export async function readTokenText(path: string): Promise<string | undefined> {
  const text = (await readIfThere(path))?.trim();
  if (text === undefined || /^[\w-]+$/.test(text)) return text;
  throw new ServerError("INVALID_OPTIONS", `${path} holds no token`);
}

/** As {@link readTokenText}, for a token made here. The file's mode is 0600 afterwards. */
export async function readOwnTokenText(path: string): Promise<string | undefined> {
  const text = (await readPrivate(path))?.trim();
  if (text === undefined || tokenId(text) !== undefined) return text;
  throw new ServerError("INVALID_OPTIONS", `${path} holds no token; remove it and the next start makes a new one`);
}

/** Of `tokens.json`; none when there is no such file. Throws `INVALID_OPTIONS` for one that is damaged. */
export async function readTokens(directory: string): Promise<StoredToken[]> {
  const path = tokensPath(directory);
  const text = await readPrivate(path);
  if (text === undefined) return [];
  try {
    const { version, tokens } = JSON.parse(text) as { version?: unknown; tokens?: unknown };
    if (version !== VERSION || !Array.isArray(tokens)) throw new TypeError("not of this version");
    return tokens.map(parse);
  } catch (cause) {
    const advice = "restore it, or remove it: then only the tokens in token files are left";
    throw new ServerError("INVALID_OPTIONS", `${path} is damaged; ${advice}`, { cause });
  }
}

export async function writeTokens(directory: string, tokens: readonly StoredToken[]): Promise<void> {
  const rows = tokens.map((token) => ({ ...token, hash: token.hash.toString("hex") }));
  await writePrivate(tokensPath(directory), `${JSON.stringify({ version: VERSION, tokens: rows }, undefined, 2)}\n`);
}

export function tokensPath(directory: string): string {
  return join(directory, "tokens.json");
}

function parse(row: unknown): StoredToken {
  const { id, label, scope, domains, createdAt, expiresAt, hash, file } = row as Record<string, unknown>;
  const isWhole =
    typeof id === "string" &&
    typeof label === "string" &&
    SCOPES.includes(scope as Scope) &&
    (domains === undefined || (Array.isArray(domains) && domains.every((domain) => typeof domain === "string"))) &&
    typeof createdAt === "number" &&
    (expiresAt === undefined || typeof expiresAt === "number") &&
    typeof hash === "string" &&
    /^[0-9a-f]{64}$/.test(hash) &&
    (file === undefined || typeof file === "string");
  if (!isWhole) throw new TypeError("a row is not whole");
  return {
    ...({ id, label, scope, domains, createdAt, expiresAt } as TokenInfo),
    hash: Buffer.from(hash, "hex"),
    file,
  };
}
