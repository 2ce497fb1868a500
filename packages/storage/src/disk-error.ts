import { hasCode } from "./backend.ts";
import { StorageError } from "./error.ts";

export interface DiskErrorAdvice {
  /** Free space with which the engine goes on for certain after a full disk, where that is more than little. */
  readonly bytesToGoOn?: () => number;
  /** Whether the engine can mend its own files. */
  readonly canRepair?: boolean;
}

/**
 * What engines on a file system fail with, in words that say what to do. Undefined for all else.
 *
 * @param name the backend's name, which holds the directory
 */
export function explainDiskError(
  name: string,
  cause: unknown,
  { bytesToGoOn, canRepair = false }: DiskErrorAdvice = {},
): StorageError | undefined {
  const text = messages(cause);
  if (hasCode(cause, "LEVEL_LOCKED") || /database is locked|SQLITE_BUSY/i.test(text)) {
    const holder = "another process, or by another backend of this one";
    const advice = "stop the other process, close the other backend, or use another directory";
    return new StorageError("LOCKED", `${name} is in use by ${holder}: ${advice}`, { cause });
  }
  if (/No space left|ENOSPC|EDQUOT|disk quota|disk is full|SQLITE_FULL/i.test(text)) {
    const enough = bytesToGoOn === undefined ? "" : ` (${Math.ceil(bytesToGoOn() / 2 ** 20)} MiB are enough)`;
    const advice = `free space${enough}; writing goes on then, and nothing acknowledged is lost`;
    const warning = "On a full disk it may not open again";
    return new StorageError("FULL", `${name}: the disk is full: ${advice}. ${warning}`, { cause });
  }
  // On a read-only file system Node.js says of a directory that it cannot make that its parent is missing.
  if (/EACCES|EPERM|EROFS|Permission denied|Read-only file system|readonly database|ENOENT.* mkdir/i.test(text)) {
    const advice = "make the directory and its files writable for this user, or copy it to where it can be written";
    return new StorageError("IO", `${name} cannot be written: ${advice}`, { cause });
  }
  if (/EEXIST|ENOTDIR|Not a directory/.test(text)) {
    const advice = "something on the path is a file: name a directory, or a place where one can be made";
    return new StorageError("IO", `${name} is no directory: ${advice}`, { cause });
  }
  // LevelDB says so of a file that another one names, and of a table that is too short.
  if (
    /Corruption: |IO error: [^]*(No such file|ldb: Invalid argument)|MDB_PAGE_NOTFOUND|MDB_CORRUPTED|file is not a database|database disk image is malformed/.test(
      text,
    )
  ) {
    const first = canRepair ? "repair it (`coppice repair`, or `repairEngine`), " : "";
    const advice = `${first}restore the directory from a backup, or move it away and let peers fill a new one`;
    return new StorageError("CORRUPT", `${name} is damaged, and its engine cannot read it: ${advice}`, { cause });
  }
  return undefined;
}

/** Codes, names and messages of an error and its causes. */
function messages(error: unknown): string {
  let text = "";
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    text += `${"code" in cause ? String(cause.code) : ""} ${cause.name} ${cause.message}\n`;
  }
  return text;
}
