/** What browsers offer. Same names as `platform-node.ts`. */
import type { RottenFile } from "./backend.ts";
import { crcOf } from "./crc.ts";

/** Ways to store bytes smaller; the numbers are part of the disk format. */
export type Codec = 0 | 1 | 2;
export const CODEC_NONE = 0;
export const CODEC_DEFLATE = 1;
export const CODEC_ZSTD = 2;

// The compiler's library for Node.js lacks the names that only browsers have.
interface LockManager {
  request(name: string, options: { ifAvailable: boolean }, hold: (lock: object | null) => unknown): Promise<unknown>;
}
interface Transform {
  readonly readable: AsyncIterable<Uint8Array>;
  readonly writable: { getWriter(): { write(bytes: Uint8Array): Promise<void>; close(): Promise<void> } };
}
declare const navigator: { readonly locks?: LockManager };
declare const CompressionStream: new (format: string) => Transform;
declare const DecompressionStream: new (format: string) => Transform;

const textEncoder = new TextEncoder();

/** CRC-32 (ISO-HDLC) of `bytes`, continued from `seed`. */
export function crc32(bytes: Uint8Array | string, seed = 0): number {
  const input = typeof bytes === "string" ? textEncoder.encode(bytes) : bytes;
  return crcOf(input, input.length, seed);
}

/** Whether this runtime reads and writes `codec`. */
export function supportsCodec(codec: number): boolean {
  return codec === CODEC_NONE || codec === CODEC_DEFLATE;
}

export async function compress(_codec: Codec, bytes: Uint8Array): Promise<Uint8Array> {
  return await pump(new CompressionStream("deflate-raw"), bytes, Number.POSITIVE_INFINITY);
}

/** Fails when the output would exceed `lengthMax`. */
export async function decompress(_codec: Codec, bytes: Uint8Array, lengthMax: number): Promise<Uint8Array> {
  return await pump(new DecompressionStream("deflate-raw"), bytes, lengthMax);
}

async function pump(stream: Transform, input: Uint8Array, lengthMax: number): Promise<Uint8Array> {
  const writer = stream.writable.getWriter();
  // Its failures surface on the readable side, too.
  const written = writer.write(input).then(() => writer.close());
  written.catch(() => undefined);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream.readable) {
    length += chunk.length;
    if (length > lengthMax) throw new RangeError(`more than ${lengthMax} bytes when decompressed`);
    chunks.push(chunk);
  }
  const output = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    output.set(chunk, at);
    at += chunk.length;
  }
  return output;
}

/** Resolves in a later turn of the event loop, when what waits has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Creates a directory with its parents and returns the path in it for an engine's files. */
export async function prepareDirectory(location: string, _name: string): Promise<string> {
  return location;
}

/** Opens a database; there are no files to look at. */
export async function openWithLogs(
  _path: string,
  _aside: string,
  openDatabase: () => Promise<void>,
): Promise<readonly RottenFile[]> {
  await openDatabase();
  return [];
}

export function bytesToOpen(_path: string): number {
  return 0;
}

/** Whether there may be space to open a database: browsers do not tell, so it is tried. */
export async function spaceFor(_path: string): Promise<boolean> {
  return true;
}

function lockManager(): LockManager | undefined {
  return typeof navigator === "undefined" ? undefined : navigator.locks;
}

/** Whether {@link lockLocation} keeps others out. */
export function canLock(): boolean {
  return lockManager() !== undefined;
}

/** A lock over the tabs of one origin; undefined where the browser has none. Throws when another tab holds it. */
export async function lockLocation(location: string, _level?: string): Promise<(() => void) | undefined> {
  const locks = lockManager();
  if (locks === undefined) return undefined;
  return await new Promise((resolve, reject) => {
    const hold = (lock: object | null): unknown => {
      if (lock !== null) return new Promise<void>((release) => resolve(release));
      return reject(Object.assign(new Error("another tab holds the lock"), { code: "LEVEL_LOCKED" }));
    };
    locks.request(`coppice:${location}`, { ifAvailable: true }, hold).catch(reject);
  });
}

/** Files of mode 0600 for secrets, or undefined where there are no files. */
export interface SecretFiles {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): Promise<void>;
}

export function secretFiles(_location: string): SecretFiles | undefined {
  return undefined;
}
