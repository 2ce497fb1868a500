import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
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

it.skipIf(!mounted)(
  "a store that stays open goes on once there is space, and loses nothing acknowledged then",
  async () => {
    execFileSync("mount", ["-o", "remount,size=68m", directory]);
    const location = join(directory, "open");
    await using backend = levelStorage(location);
    await backend.open();
    const value = crypto.getRandomValues(new Uint8Array(20_000));
    const acknowledged: string[] = [];
    const put = async (sync: boolean): Promise<string | undefined> => {
      const key = `k${acknowledged.length}`;
      try {
        await backend.write([{ op: "put", key, value }], { sync });
      } catch (error) {
        return (error as { code: string }).code;
      }
      acknowledged.push(key);
      return undefined;
    };
    for (let round = 0; round < 3; round++) {
      // The disk is what is used now and a little more.
      const used = Number(execFileSync("df", ["--output=used", "-k", directory]).toString().split("\n")[1]);
      execFileSync("mount", ["-o", `remount,size=${used + 500}k`, directory]);
      const before = acknowledged.length;
      let failure: string | undefined;
      while (failure === undefined && acknowledged.length < before + 1000) failure = await put(round % 2 === 0);
      expect(failure).toBe("FULL");
      // Reads go on, and so does the failure, until there is space.
      expect(await put(false)).toBe("FULL");
      expect(await backend.get("k0")).toEqual(value);
      execFileSync("mount", ["-o", "remount,size=200m", directory]);
      const keys: string[] = [];
      for await (const page of backend.scan({ values: false })) {
        keys.push(...page.map(({ key }) => key));
        // Within the scan, so that the database is opened anew under it.
        expect(await put(true)).toBeUndefined();
      }
      expect(keys.length).toBeGreaterThanOrEqual(acknowledged.length - 1);
      for (let more = 0; more < 20; more++) expect(await put(more % 2 === 0)).toBeUndefined();
    }
    // As a crash would leave it: a copy of the files, without close.
    const copy = join(directory, "copy");
    cpSync(location, copy, { recursive: true });
    await using after = levelStorage(copy);
    await after.open();
    const found = await after.getMany(acknowledged);
    expect(found.filter((bytes) => bytes === undefined)).toEqual([]);
  },
);
