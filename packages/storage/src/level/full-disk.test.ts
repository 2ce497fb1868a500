import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { createGroupStore } from "../group-store.ts";
import { meta, record } from "../group-store.test-support.ts";
import { levelStorage } from "./index.ts";

const directory = mkdtempSync(join(tmpdir(), "coppice-full-"));
const mounted = mount("size=4m");

/** Mounting needs rights that not every machine gives. */
function mount(options: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", directory], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

afterAll(() => {
  if (mounted) execFileSync("umount", ["-l", directory]);
  rmSync(directory, { recursive: true });
});

it.skipIf(!mounted)("a full disk: FULL with advice; with more space all that was acknowledged is there", async () => {
  const location = join(directory, "data");
  const store = createGroupStore(levelStorage(location), { compression: "none" });
  await store.open();
  await store.commit({ created: [meta("g")] }, { sync: true });
  let acknowledged = 0;
  let failure: unknown;
  while (failure === undefined && acknowledged < 1000) {
    const bytes = crypto.getRandomValues(new Uint8Array(20_000));
    const commit = store.commit({ records: [{ ...record("g", acknowledged), bytes }] }, { sync: true });
    failure = await commit.then(
      () => void acknowledged++,
      (error: unknown) => error,
    );
  }
  expect(failure).toMatchObject({ code: "FULL", message: expect.stringContaining("free space") });
  expect(acknowledged).toBeGreaterThan(50);
  const outcome = await store.close().catch((error: unknown) => error);
  expect([undefined, "FULL"]).toContain((outcome as { code?: string } | undefined)?.code);
  // Nothing to write to: the engine cannot even open. The error says what to do.
  const reopened = await store.open().then(
    () => store.close().catch((error: unknown) => error),
    (error: unknown) => error,
  );
  expect([undefined, "FULL"]).toContain((reopened as { code?: string } | undefined)?.code);
  execFileSync("mount", ["-o", "remount,size=64m", directory]);
  await store.open();
  const group = await store.load("g");
  expect(group?.damage).toEqual([]);
  expect(group?.nextPosition).toBeGreaterThanOrEqual(acknowledged);
  await store.commit({ records: [record("g", group?.nextPosition ?? 0)] }, { sync: true });
  await store.close();
});
