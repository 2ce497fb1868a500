import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs something with a directory that is removed afterwards. */
export async function inDirectory<Result>(run: (path: string) => Promise<Result>): Promise<Result> {
  const path = await mkdtemp(join(tmpdir(), "coppice-bench-"));
  try {
    return await run(path);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}
