/**
 * What a node leaves in its data directory for those who want to talk to it, beside its tokens (see `token-store.ts`):
 *
 * | file            | mode | holds                                                              |
 * |-----------------|------|--------------------------------------------------------------------|
 * | `endpoint.json` | 0600 | where the running node serves HTTP; removed when it stops in order |
 * | `storage.json`  | 0600 | where its groups are stored, see layout.ts                          |
 * | `listen.json`   | 0600 | the ports it was given, see listen-ports.ts                         |
 */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { StorageError } from "@coppice/storage";
import { ServerError } from "../error.ts";

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

/** An error of opening a data directory; if that is locked, it says by whom, as far as that is known. */
export async function namingHolder(data: string, error: unknown): Promise<unknown> {
  if (!(error instanceof StorageError) || error.code !== "LOCKED") return error;
  // What is stored elsewhere may be in use by another node.
  if (!error.message.includes(resolve(data))) return error;
  const holder = await readEndpoint(data).catch(() => undefined);
  const who = holder === undefined ? "another process" : `the node of process ${holder.pid}, at ${holder.url}`;
  const advice = "stop it first, or take another directory";
  return new StorageError("LOCKED", `${data} is in use by ${who}: ${advice}`, { cause: error });
}

export async function removeEndpoint(data: string): Promise<void> {
  await rm(endpointPath(data), { force: true });
}
