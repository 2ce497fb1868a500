/** Files that only their owner may read. */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

const PRIVATE = 0o600;
const OF_OTHERS = 0o077;
const PRIVATE_DIRECTORY = 0o700;

/** Makes a directory of mode 0700 with its parents, unless there is one. */
export async function makePrivateDirectory(directory: string): Promise<void> {
  // Not with `recursive`: that never ends where nothing can be made, as in `/proc`.
  const path = resolve(directory);
  await makeLast(path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT" || dirname(path) === path) throw error;
    await makePrivateDirectory(dirname(path));
    await makeLast(path);
  });
}

async function makeLast(path: string): Promise<void> {
  await mkdir(path, { mode: PRIVATE_DIRECTORY }).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
  });
}

/** Writes a file with mode 0600, whole or not at all, and on stable storage when it resolves. */
export async function writePrivate(path: string, content: string | Uint8Array): Promise<void> {
  await makePrivateDirectory(dirname(path));
  const draft = `${path}.${randomBytes(4).toString("hex")}`;
  try {
    const file = await open(draft, "wx", PRIVATE);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** The rename is only as durable as the directory that holds it. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** The text of a file that nobody but its owner may use afterwards; undefined when there is none. */
export async function readPrivate(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(unlessMissing);
  // What is so already may be where nothing can be changed.
  if (found !== undefined && (found.mode & OF_OTHERS) !== 0) await chmod(path, PRIVATE);
  return await readIfThere(path);
}

/** The text of a file, whoever it belongs to; undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(unlessMissing);
}

export function unlessMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
