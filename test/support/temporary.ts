import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A new directory, removed when the test that asked for it has finished and its processes are gone. */
export function temporaryDirectory(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `coppice-${name}-`));
  onTestFinished(() => rmSync(path, { recursive: true, force: true, maxRetries: 3 }));
  return path;
}
