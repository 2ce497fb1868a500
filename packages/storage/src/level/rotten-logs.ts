import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { RottenFile } from "../backend.ts";
import { unlessMissing, writePrivate } from "../private-file.ts";
import { BLOCK_BYTES, findRot } from "./log-file.ts";

const CHUNK_BLOCKS = 32;

interface LogFile {
  readonly name: string;
  readonly handle: FileHandle;
}

/**
 * Opens the LevelDB in `path` and looks at its logs meanwhile: it makes tables of them, drops what has rotted, and
 * removes them. A log that has rotted is kept in `aside`. Resolves to all that lies there, also from earlier times.
 */
export async function openWithLogs(
  path: string,
  aside: string,
  openDatabase: () => Promise<void>,
): Promise<readonly RottenFile[]> {
  const logs = await openLogs(path);
  try {
    const [looked, opened] = await Promise.allSettled([findRotten(logs), openDatabase()]);
    if (opened.status === "rejected") throw opened.reason;
    if (looked.status === "rejected") throw looked.reason;
    const earlier = await listKept(aside);
    const found: RottenFile[] = [];
    for (const [log, rottenAt] of looked.value) found.push({ ...(await keep(path, aside, log)), rottenAt });
    return [...found, ...earlier.filter(({ place }) => found.every((file) => file.place !== place))];
  } finally {
    for (const { handle } of logs) await handle.close();
  }
}

async function openLogs(path: string): Promise<readonly LogFile[]> {
  const names = await namesIn(path);
  const logs = names.filter((name) => name.endsWith(".log"));
  return await Promise.all(logs.map(async (name) => ({ name, handle: await open(join(path, name)) })));
}

async function namesIn(path: string): Promise<readonly string[]> {
  return (await readdir(path).catch(unlessMissing)) ?? [];
}

/** The logs that have rotted, with the place where they did. */
async function findRotten(logs: readonly LogFile[]): Promise<ReadonlyMap<LogFile, number>> {
  const rotten = new Map<LogFile, number>();
  for (const log of logs) {
    const at = await findRot(blocksOf(log.handle));
    if (at !== undefined) rotten.set(log, at);
  }
  return rotten;
}

async function* blocksOf(handle: FileHandle): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(CHUNK_BLOCKS * BLOCK_BYTES);
  for (let position = 0; ; position += chunk.length) {
    const length = await readInto(chunk, handle, position);
    for (let at = 0; at < length; at += BLOCK_BYTES) yield chunk.subarray(at, Math.min(at + BLOCK_BYTES, length));
    if (length < chunk.length) return;
  }
}

/** Fills `bytes` as far as the file reaches; how many it has. */
async function readInto(bytes: Uint8Array, handle: FileHandle, position: number): Promise<number> {
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await handle.read(bytes, length, bytes.length - length, position + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}

/** Copies a log, which may be gone from its directory by now. Where there is no space for that, it is only told of. */
async function keep(path: string, aside: string, { name, handle }: LogFile): Promise<Omit<RottenFile, "rottenAt">> {
  const { size, mtimeMs } = await handle.stat();
  const bytes = new Uint8Array(size);
  await readInto(bytes, handle, 0);
  const place = join(aside, name.replace(".log", `-${Math.trunc(mtimeMs)}.log`));
  try {
    await writePrivate(place, bytes);
    return { place, bytes: size };
  } catch {
    return { place: join(path, name), bytes: size };
  }
}

async function listKept(aside: string): Promise<readonly RottenFile[]> {
  const places = (await namesIn(aside)).toSorted().map((name) => join(aside, name));
  return await Promise.all(
    places.map(async (place) => ({ place, bytes: (await stat(place)).size, rottenAt: undefined })),
  );
}
