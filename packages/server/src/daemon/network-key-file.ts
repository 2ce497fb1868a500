import { readFile, stat } from "node:fs/promises";
import { ServerError } from "../error.ts";
import { fileTrouble } from "../file-trouble.ts";

/** The text of a network key file. Throws `INVALID_OPTIONS` when it cannot be read, or others may read it. */
export async function readNetworkKey(path: string): Promise<string> {
  try {
    const { mode } = await stat(path);
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new ServerError(
        "INVALID_OPTIONS",
        `others may read the network key ${path}: chmod 600 it, or make another`,
      );
    }
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof ServerError) throw cause;
    const advice = "make one with: (umask 077; coppice network-key > FILE)";
    const message = `the network key ${path} ${fileTrouble(cause)}; ${advice}`;
    throw new ServerError("INVALID_OPTIONS", message, { cause });
  }
}
