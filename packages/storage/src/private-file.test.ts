import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readPrivate } from "./private-file.ts";

test("a private file that others may read is closed to them", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-private-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "file");
  await writeFile(path, "text");
  await chmod(path, 0o644);
  expect(await readPrivate(path)).toBe("text");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readPrivate(join(directory, "none"))).toBeUndefined();
});

// Nobody may change its mode.
test.runIf(process.platform === "linux")(
  "one that is private already is read where nothing can be changed",
  async () => {
    const path = "/proc/self/environ";
    await expect(chmod(path, 0o600)).rejects.toThrow("/proc/self/environ");
    expect(typeof (await readPrivate(path))).toBe("string");
  },
);
