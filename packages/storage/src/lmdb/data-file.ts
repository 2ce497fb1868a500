/**
 * The head of LMDB's file, as far as it is checked here. Integers are little endian.
 *
 * | at       | bytes | what                                                   |
 * |----------|-------|--------------------------------------------------------|
 * | 0        | 168   | first meta page                                        |
 * | 24       | 4     | magic 0xbeefc0de                                       |
 * | 28       | 4     | version of the format, in the lower two bytes          |
 * | 48       | 48    | tree of free pages; it begins with the bytes of a page |
 * | 96       | 48    | tree of keys and values                                |
 * | 144      | 8     | number of the last page in use                         |
 * | 152      | 8     | number of the transaction that wrote this              |
 * | one page | 168   | second meta page, alike                                |
 *
 * Transactions write the two in turns, and the one of the newer transaction holds.
 */
import type { FileHandle } from "node:fs/promises";
import { StorageError } from "../error.ts";

const META_BYTES = 168;
const MAGIC = 0xbeefc0de;
const VERSION = 2;
const TREES_AT = [48, 96] as const;
/** In the head of a tree. */
const FLAGS_AT = 4;
const NUMBER_KEYS = 8;

export interface DataFileMeta {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: number;
  /** The heads of the trees: of free pages, and of keys and values. */
  readonly trees: readonly [free: DataView, main: DataView];
}

/**
 * Refuses a file that LMDB would not survive: it ends the process over a foreign header, and over a file that is shorter
 * than its header says. Refuses headers, too, of which LMDB would take the older one. An empty file is a new one. Throws `CORRUPT` and `UNSUPPORTED_FORMAT`.
 */
export async function checkDataFile(file: FileHandle, name: string): Promise<void> {
  const { size } = await file.stat();
  if (size > 0) await readMetas(file, name, size);
}

/** Both meta pages of a file that is not empty. */
export async function readMetas(
  file: FileHandle,
  name: string,
  size: number,
): Promise<readonly [DataFileMeta, DataFileMeta]> {
  const first = await readMeta(file, 0, name);
  const second = await readMeta(file, first.pageBytes, name);
  const needed = (Math.max(first.lastPage, second.lastPage) + 1) * first.pageBytes;
  if (size < needed) throw damagedFile(name, `it has ${size} bytes instead of ${needed}`);
  if (!isInTurn(first, second)) throw damagedFile(name, "its two headers do not follow each other");
  return [first, second];
}

/** Whether two headers are those of a new file, or of transactions one after the other, each in its place. */
function isInTurn(first: DataFileMeta, second: DataFileMeta): boolean {
  const isNew = first.lastPage === 1 && second.lastPage === 1;
  const distance = Math.abs(first.transaction - second.transaction);
  return first.transaction % 2 === 0 && (distance === 1 || (isNew && distance === 0));
}

async function readMeta(file: FileHandle, at: number, name: string): Promise<DataFileMeta> {
  const { bytesRead, buffer } = await file.read(new DataView(new ArrayBuffer(META_BYTES)), 0, META_BYTES, at);
  if (bytesRead < META_BYTES) throw damagedFile(name, "it ends within its header");
  if (buffer.getUint32(24, true) !== MAGIC) throw damagedFile(name, "it does not begin as one");
  const version = buffer.getUint16(28, true);
  if (version !== VERSION) {
    const advice = "open it with the version of the package lmdb that wrote it";
    throw new StorageError("UNSUPPORTED_FORMAT", `${name} has version ${version} of LMDB's format: ${advice}`);
  }
  const pageBytes = buffer.getUint32(48, true);
  if (pageBytes < 256 || pageBytes > 65_536) throw damagedFile(name, `pages of ${pageBytes} bytes`);
  const [free, main] = TREES_AT.map((tree) => new DataView(buffer.buffer, tree, 48)) as [DataView, DataView];
  const isPlain = free.getUint16(FLAGS_AT, true) === NUMBER_KEYS && main.getUint16(FLAGS_AT, true) === 0;
  if (!isPlain) throw damagedFile(name, "its header says that its keys are of another kind");
  const [lastPage, transaction] = [buffer.getBigUint64(144, true), buffer.getBigUint64(152, true)].map(Number);
  return { pageBytes, lastPage: lastPage as number, transaction: transaction as number, trees: [free, main] };
}

export function damagedFile(name: string, reason: string): StorageError {
  const advice = "restore it from a backup, or move it away and let peers fill a new one";
  return new StorageError("CORRUPT", `the LMDB file of ${name} is damaged (${reason}): ${advice}`);
}
