/** Where exports go: a file, a pipe or a device, or standard output. */
import { once } from "node:events";
import { open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { CliError, EXIT } from "./failure.ts";

/** As the name of a file: standard output, or input. */
export const STANDARD = "-";

/** Whether what is written there goes where a command speaks. */
export function isStandardOutput(path: string): boolean {
  return path === STANDARD || path === "/dev/stdout";
}

const PRIVATE = 0o600;

/**
 * Writes all of the chunks; returns the number of bytes. A file is there only once it is complete, under whatever it was
 * linked by; what is no file, such as `/dev/stdout`, is written to and stays what it is.
 */
export async function writeWhole(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<number> {
  if (path === STANDARD) {
    return await pour(chunks, signal, async (chunk) => {
      if (!process.stdout.write(chunk)) await once(process.stdout, "drain", { signal });
    });
  }
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true) {
    throw new CliError(EXIT.usage, "INVALID_OPTIONS", `${path} is a directory: name a file in it`);
  }
  if (found !== undefined && !found.isFile()) return await fill(path, chunks, signal);
  return await replace(found === undefined ? path : await realpath(path), chunks, signal);
}

/** Writes under another name until it is complete: half a backup looks like none. */
async function replace(path: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<number> {
  const draft = `${path}.part`;
  try {
    const bytes = await fill(draft, chunks, signal);
    await rename(draft, path);
    return bytes;
  } catch (error) {
    await rm(draft, { force: true });
    throw noDirectory(path, error);
  }
}

async function fill(path: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<number> {
  const file = await open(path, "w", PRIVATE);
  try {
    const bytes = await pour(chunks, signal, async (chunk) => await file.writeFile(chunk));
    if ((await file.stat()).isFile()) await file.sync();
    return bytes;
  } catch (error) {
    // What fails at an open file does not say at which.
    throw error instanceof Error && "syscall" in error ? Object.assign(error, { path }) : error;
  } finally {
    await file.close();
  }
}

async function pour(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<number> {
  let bytes = 0;
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    await write(chunk);
    bytes += chunk.length;
  }
  return bytes;
}

function noDirectory(path: string, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code !== "ENOENT" || syscall !== "open") return error;
  return new CliError(EXIT.usage, "INVALID_OPTIONS", `there is no directory ${dirname(path)} for ${path}`, {
    cause: error,
  });
}
