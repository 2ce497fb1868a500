/** What Node.js does better than portable code can. Same names as `platform-browser.ts`. */
import { existsSync, fstatSync, readdirSync, statSync } from "node:fs";
import { readdir, readFile, realpath, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { makePrivateDirectory, unlessMissing, writePrivate } from "./private-file.ts";

export { openWithLogs } from "./level/rotten-logs.ts";

/** Ways to store bytes smaller; the numbers are part of the disk format. */
export type Codec = 0 | 1 | 2;
export const CODEC_NONE = 0;
export const CODEC_DEFLATE = 1;
export const CODEC_ZSTD = 2;

/** Above this many bytes, (de)compression runs on a thread of the pool. */
const INLINE_BYTES_MAX = 32 * 1024;

// Only newer versions of Node.js have zstd, and the types are those of the oldest supported one.
interface Zstd {
  zstdCompressSync?(bytes: Uint8Array): Uint8Array;
  zstdDecompressSync?(bytes: Uint8Array, options: { maxOutputLength: number }): Uint8Array;
}
const zstd = zlib as Zstd;
const deflate = promisify<Uint8Array, zlib.ZlibOptions, Uint8Array>(zlib.deflateRaw);
const inflate = promisify<Uint8Array, zlib.ZlibOptions, Uint8Array>(zlib.inflateRaw);

/** CRC-32 (ISO-HDLC) of `bytes`, continued from `seed`. */
export function crc32(bytes: Uint8Array | string, seed = 0): number {
  return zlib.crc32(bytes, seed);
}

/** Whether this runtime reads and writes `codec`. */
export function supportsCodec(codec: number): boolean {
  if (codec === CODEC_ZSTD) return zstd.zstdCompressSync !== undefined;
  return codec === CODEC_NONE || codec === CODEC_DEFLATE;
}

export async function compress(codec: Codec, bytes: Uint8Array): Promise<Uint8Array> {
  if (codec === CODEC_ZSTD && zstd.zstdCompressSync !== undefined) return plain(zstd.zstdCompressSync(bytes));
  if (bytes.length <= INLINE_BYTES_MAX) return plain(zlib.deflateRawSync(bytes, { level: 1 }));
  return plain(await deflate(bytes, { level: 1 }));
}

/** Fails when the output would exceed `lengthMax`. */
export async function decompress(codec: Codec, bytes: Uint8Array, lengthMax: number): Promise<Uint8Array> {
  const options = { maxOutputLength: Math.max(1, lengthMax) };
  if (codec === CODEC_ZSTD && zstd.zstdDecompressSync !== undefined)
    return plain(zstd.zstdDecompressSync(bytes, options));
  if (lengthMax <= INLINE_BYTES_MAX) return plain(zlib.inflateRawSync(bytes, options));
  return plain(await inflate(bytes, options));
}

/** zlib hands out Buffers, whose `slice` shares memory where that of a Uint8Array copies. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Resolves in a later turn of the event loop, when what waits has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Creates a directory with its parents and returns the path in it for an engine's files. */
export async function prepareDirectory(location: string, name: string): Promise<string> {
  await makePrivateDirectory(location);
  return join(location, name);
}

/** Space that LevelDB needs to open beside what is in its logs. */
const OPEN_BYTES = 4 << 20;

/** Space that the LevelDB in a directory needs to open: it writes the contents of its logs once more. */
export function bytesToOpen(path: string): number {
  const logs = (existsSync(path) ? readdirSync(path) : []).filter((name) => name.endsWith(".log"));
  return logs.reduce((sum, name) => sum + statSync(join(path, name)).size, OPEN_BYTES);
}

/** Whether there is that space. */
export async function spaceFor(path: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize >= bytesToOpen(path);
}

/** Whether {@link lockLocation} keeps others out. */
export function canLock(): boolean {
  return true;
}

/** Directories that backends of this thread have open, also those of other copies of this package. */
const CLAIMS = Symbol.for("@coppice/storage claimed directories");
const claims = ((globalThis as { [CLAIMS]?: Set<string> })[CLAIMS] ??= new Set());

/**
 * A lock within this process; between processes LevelDB's own holds. A process must not even try to take that again:
 * the failed attempt closes the lock file, and with any descriptor of a file POSIX drops all locks of the process on it.
 * Throws when another backend has the directory, which must exist. Two threads that open it in the same instant are not
 * told apart.
 *
 * @param level where the engine keeps a LevelDB, if it does: that may be open in another thread
 */
export async function lockLocation(location: string, level?: string): Promise<(() => void) | undefined> {
  const path = await realpath(location);
  const taken = (): Error =>
    Object.assign(new Error("another backend of this process has it open"), { code: "LEVEL_LOCKED" });
  if (claims.has(path)) throw taken();
  claims.add(path);
  const release = (): void => void claims.delete(path);
  if (level !== undefined && (await isOpenHere(join(level, "LOCK")))) {
    release();
    throw taken();
  }
  return release;
}

/** Whether some thread of this process has a file open; false where the system does not tell (Windows). */
async function isOpenHere(path: string): Promise<boolean> {
  const file = await stat(path, { bigint: true }).catch(() => undefined);
  const descriptors = file === undefined ? [] : await readdir("/dev/fd").catch(() => []);
  return descriptors.some((descriptor) => {
    try {
      const { dev, ino } = fstatSync(Number(descriptor), { bigint: true });
      return dev === file?.dev && ino === file.ino;
    } catch {
      // It was closed meanwhile.
      return false;
    }
  });
}

/** Files of mode 0600 for secrets, or undefined where there are no files. */
export interface SecretFiles {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): Promise<void>;
}

export function secretFiles(location: string): SecretFiles | undefined {
  const pathOf = (name: string): string => join(location, "secrets", name);
  return {
    read: async (name) => await readFile(pathOf(name)).then((bytes) => new Uint8Array(bytes), unlessMissing),
    write: async (name, bytes) => await writePrivate(pathOf(name), bytes),
  };
}
