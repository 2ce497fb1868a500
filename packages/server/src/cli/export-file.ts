/** Files of exported groups, as they come in and go to the disk. */
import { open, rename, rm } from "node:fs/promises";
import { parseGroupId } from "@coppice/storage";
import { readEndpoint } from "../daemon/files.ts";
import { type ClientOptions, connect } from "./context.ts";
import { CliError, EXIT } from "./failure.ts";

const PRIVATE = 0o600;
const HEADER_BYTES = 8;
const LENGTH_BYTES = 4;

/** Writes under another name until it is complete: half a backup looks like none. Returns the number of bytes. */
export async function writeWhole(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<number> {
  const draft = `${path}.part`;
  let bytes = 0;
  try {
    const file = await open(draft, "w", PRIVATE);
    try {
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        await file.writeFile(chunk);
        bytes += chunk.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return bytes;
}

/** Passes an export on and tells how many of its blocks have gone by: see `export-format.ts` for their frames. */
export async function* countBlocks(
  chunks: AsyncIterable<Uint8Array>,
  tell: (blocks: number, bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let blocks = 0;
  let bytes = 0;
  /** Where the next block's length begins, counted from the start of the next chunk; and the length's bytes so far. */
  let skip = HEADER_BYTES;
  let length = 0;
  let lengthBytes = 0;
  for await (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      if (skip > 0) {
        const step = Math.min(skip, chunk.length - at);
        skip -= step;
        at += step;
        continue;
      }
      length += (chunk[at] ?? 0) * 256 ** lengthBytes;
      at++;
      if (++lengthBytes < LENGTH_BYTES) continue;
      skip = length;
      length = 0;
      lengthBytes = 0;
      blocks++;
    }
    bytes += chunk.length;
    // The last one has only begun.
    tell(Math.max(0, blocks - 1), bytes);
    yield chunk;
  }
}

/** From the node when one runs, else from its directory; and how many groups there are, when that is known. */
export async function exported(
  options: ClientOptions & { readonly prefix?: string },
  signal: AbortSignal,
  history = false,
): Promise<{ readonly chunks: AsyncIterable<Uint8Array>; readonly total?: number }> {
  const { data, url, prefix } = options;
  if (url === undefined && data !== undefined && (await readEndpoint(data)) === undefined) {
    const { exportDirectory } = await import("../daemon/offline.ts");
    const selection = prefix === undefined ? {} : { prefix: parseGroupId(prefix) };
    return { chunks: exportDirectory(data, { history, signal, ...selection }) };
  }
  const client = await connect(options);
  const { groups } = await client.request<{ readonly groups: number }>("GET", "/v1/status");
  const query = new URLSearchParams({ history: String(history), ...(prefix === undefined ? {} : { prefix }) });
  const { body } = await client.stream(`/v1/export?${query.toString()}`);
  if (body === null) throw new CliError(EXIT.unreachable, "UNREACHABLE", "the node answered without a stream");
  const chunks = unlessLost(body);
  return prefix === undefined ? { chunks, total: groups } : { chunks };
}

async function* unlessLost(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    throw new CliError(EXIT.unreachable, "UNREACHABLE", "the node went away before it was done", { cause });
  }
}
