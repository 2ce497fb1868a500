/**
 * What a node leaves in its data directory for those who want to talk to it:
 *
 * | file            | mode | holds                                                              |
 * |-----------------|------|--------------------------------------------------------------------|
 * | `token`         | 0600 | the token that allows everything, made at the first start and kept |
 * | `token.read`    | 0600 | the token that allows reading only, likewise                       |
 * | `endpoint.json` | 0600 | where the running node serves HTTP; removed when it stops in order |
 * | `storage.json`  | 0600 | where its groups are stored, see layout.ts                          |
 */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ServerError } from "../error.ts";

const TOKEN_BYTES = 32;
const TOKEN_PATTERN = /^[A-Za-z0-9_-]{32,256}$/;
const PRIVATE = 0o600;

/** Where a running node can be reached. */
export interface Endpoint {
  readonly url: string;
  /** The node's process. */
  readonly pid: number;
  readonly peerId: string;
}

export function tokenPath(data: string): string {
  return join(data, "token");
}

export function readTokenPath(data: string): string {
  return join(data, "token.read");
}

export function endpointPath(data: string): string {
  return join(data, "endpoint.json");
}

/** Reads a token file, and makes it when there is none. Its mode is 0600 afterwards in either case. */
export async function ensureToken(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    const file = await open(path, "wx", PRIVATE);
    try {
      const token = randomBytes(TOKEN_BYTES).toString("base64url");
      await file.writeFile(`${token}\n`);
      await file.sync();
      return token;
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  await chmod(path, PRIVATE);
  return await readToken(path);
}

/** Throws `INVALID_OPTIONS` for a file that holds no token, and the error of the file system. */
export async function readToken(path: string): Promise<string> {
  const token = (await readFile(path, "utf8")).trim();
  if (TOKEN_PATTERN.test(token)) return token;
  throw new ServerError(
    "INVALID_OPTIONS",
    `${path} holds no token (32 to 256 letters, digits, "-" and "_"); remove it and the next start makes a new one`,
  );
}

/** Written whole or not at all: a reader never sees half of it. */
export async function writeEndpoint(data: string, endpoint: Endpoint): Promise<void> {
  const path = endpointPath(data);
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(endpoint)}\n`, { mode: PRIVATE });
  await rename(draft, path);
}

/** Undefined when no node has been started, or the last one stopped in order. */
export async function readEndpoint(data: string): Promise<Endpoint | undefined> {
  let text: string;
  try {
    text = await readFile(endpointPath(data), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { url, pid, peerId } = JSON.parse(text) as Partial<Endpoint>;
    if (typeof url === "string" && typeof pid === "number" && typeof peerId === "string") return { url, pid, peerId };
  } catch (cause) {
    throw new ServerError("INVALID_OPTIONS", `${endpointPath(data)} is damaged; restart the node`, { cause });
  }
  throw new ServerError("INVALID_OPTIONS", `${endpointPath(data)} is damaged; restart the node`);
}

export async function removeEndpoint(data: string): Promise<void> {
  await rm(endpointPath(data), { force: true });
}
