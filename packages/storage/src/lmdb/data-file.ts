/**
 * What LMDB writes at the head of its file, as far as it is checked here. Integers are little endian.
 *
 * | at       | bytes | what                                          |
 * |----------|-------|-----------------------------------------------|
 * | 0        | 160   | first meta page                               |
 * | 24       | 4     | magic 0xbeefc0de                              |
 * | 28       | 4     | version of the format, in the lower two bytes |
 * | 48       | 4     | bytes of a page                               |
 * | 144      | 8     | number of the last page in use                |
 * | one page | 160   | second meta page, alike                       |
 */
import type { FileHandle } from "node:fs/promises";
import { StorageError } from "../error.ts";

const META_BYTES = 160;
const MAGIC = 0xbeefc0de;
const VERSION = 2;

/**
 * Refuses a file that LMDB would not survive: it ends the process over a foreign header, and over a file that is shorter
 * than its header says. An empty file is a new one. Throws `CORRUPT` and `UNSUPPORTED_FORMAT`.
 */
export async function checkDataFile(file: FileHandle, name: string): Promise<void> {
  const { size } = await file.stat();
  if (size === 0) return;
  const first = await readMeta(file, 0, name);
  const second = await readMeta(file, first.pageBytes, name);
  const needed = (Math.max(first.lastPage, second.lastPage) + 1) * first.pageBytes;
  if (size < needed) throw damaged(name, `it has ${size} bytes instead of ${needed}`);
}

async function readMeta(file: FileHandle, at: number, name: string): Promise<{ pageBytes: number; lastPage: number }> {
  const { bytesRead, buffer } = await file.read(new DataView(new ArrayBuffer(META_BYTES)), 0, META_BYTES, at);
  if (bytesRead < META_BYTES) throw damaged(name, "it ends within its header");
  if (buffer.getUint32(24, true) !== MAGIC) throw damaged(name, "it does not begin as one");
  const version = buffer.getUint16(28, true);
  if (version !== VERSION) {
    const advice = "open it with the version of the package lmdb that wrote it";
    throw new StorageError("UNSUPPORTED_FORMAT", `${name} has version ${version} of LMDB's format: ${advice}`);
  }
  const pageBytes = buffer.getUint32(48, true);
  if (pageBytes < 256 || pageBytes > 65_536) throw damaged(name, `pages of ${pageBytes} bytes`);
  return { pageBytes, lastPage: Number(buffer.getBigUint64(144, true)) };
}

function damaged(name: string, reason: string): StorageError {
  const advice = "restore it from a backup, or move it away and let peers fill a new one";
  return new StorageError("CORRUPT", `the LMDB file of ${name} is damaged (${reason}): ${advice}`);
}
