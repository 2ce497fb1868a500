import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StorageBackend } from "./backend.ts";
import { levelStorage } from "./level/index.ts";
import { lmdbStorage } from "./lmdb/index.ts";
import { SmallDisk } from "./small-disk.test-support.ts";
import { sqliteStorage } from "./sqlite/index.ts";

interface Engine {
  readonly name: string;
  readonly make: (location: string) => StorageBackend;
  /** The file without which the engine finds nothing, below the data directory. */
  readonly head: (location: string) => string;
}

const engines: Engine[] = [
  { name: "level", make: levelStorage, head: (location) => join(location, "db", "CURRENT") },
  { name: "lmdb", make: lmdbStorage, head: (location) => join(location, "lmdb", "data.mdb") },
];
if (isBuiltin("node:sqlite")) {
  engines.push({ name: "sqlite", make: sqliteStorage, head: (location) => join(location, "data.sqlite") });
}

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "coppice-directory-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

const value = new Uint8Array(1000).fill(7);

/** Stores 50 values. */
async function fill(backend: StorageBackend): Promise<void> {
  await backend.open();
  for (let index = 0; index < 50; index++) {
    await backend.write([{ op: "put", key: `k${index}`, value }], { sync: index % 10 === 0 });
  }
  await backend.close();
}

async function count(backend: StorageBackend): Promise<number> {
  let entries = 0;
  for await (const page of backend.scan()) entries += page.filter((entry) => entry.value.length === 1000).length;
  return entries;
}

for (const { name, make, head } of engines) {
  describe(`the directory of ${name}`, () => {
    const entry = pathToFileURL(join(import.meta.dirname, "../dist", name, "index.js")).href;

    /** Opening fails with this code; the message names the directory and has the advice. */
    async function refused(location: string, code: string, advice: RegExp): Promise<void> {
      await using backend = make(location);
      const message = expect.stringMatching(advice);
      await expect(backend.open()).rejects.toMatchObject({ code, message });
      await expect(backend.open()).rejects.toMatchObject({ code, message: expect.stringContaining(location) });
      expect(backend.status).toBe("closed");
    }

    it("that is or holds a file where a directory should be is refused", async () => {
      const file = join(directory, "file");
      writeFileSync(file, "");
      await refused(file, "IO", /is no directory: .* name a directory/);
      await refused(join(file, "data"), "IO", /is no directory: .* name a directory/);
    });

    it("on a file system that is read-only is refused with advice, new or not", async (test) => {
      using disk = SmallDisk.mount("64m");
      if (disk === undefined) return test.skip("mounting a file system is not permitted");
      const location = join(disk.directory, "data");
      await fill(make(location));
      disk.remount("ro");
      await refused(location, "IO", /cannot be written: make .* writable for this user, or copy it/);
      await refused(join(disk.directory, "new"), "IO", /cannot be written: make .* writable/);
      disk.remount("rw");
      await using backend = make(location);
      await backend.open();
      expect(await count(backend)).toBe(50);
    });

    it("that this user may not write is refused with advice", async () => {
      const location = join(directory, "data");
      await fill(make(location));
      chmodSync(location, 0o555);
      for (const entry of readdirSync(location, { recursive: true, encoding: "utf8" })) {
        chmodSync(join(location, entry), 0o555);
      }
      // Modes do not hold root back, so a child gives its rights away first, once it has loaded everything.
      const script = `
        import { ${name}Storage } from "${entry}";
        if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534); }
        const backend = ${name}Storage(process.argv[1]);
        await backend.open().catch(({ code, message }) => console.log(code, message));
      `;
      chmodSync(directory, 0o755);
      const args = ["--no-warnings", "--input-type=module", "-e", script, location];
      const printed = execFileSync(process.execPath, args, { encoding: "utf8", timeout: 15_000 });
      expect(printed).toMatch(/^IO .*cannot be written: make the directory and its files writable for this user/);
      expect(printed).toContain(location);
    });

    it("whose engine's own files are damaged or cut short is refused, and left as it is", async () => {
      const location = join(directory, "data");
      await fill(make(location));
      for (const damage of [
        () => writeFileSync(head(location), "x".repeat(40_000)),
        () => truncateSync(head(location), 10),
      ]) {
        damage();
        await refused(location, "CORRUPT", /damaged.*restore .* from a backup, or move it away/s);
      }
    });

    it("can be copied while it is closed; original and copy can then be open at once", async () => {
      const [location, copy] = [join(directory, "data"), join(directory, "copy")];
      await fill(make(location));
      cpSync(location, copy, { recursive: true });
      await using original = make(location);
      await using second = make(copy);
      await original.open();
      await second.open();
      await original.write([{ op: "put", key: "original", value }], { sync: true });
      await second.write([{ op: "put", key: "copy", value }], { sync: true });
      expect([await count(original), await count(second)]).toEqual([51, 51]);
      expect(await original.get("copy")).toBeUndefined();
    });

    it("that another process has open is refused with advice, and free when that is killed", async () => {
      const location = join(directory, "data");
      mkdirSync(location);
      await using first = make(location);
      await first.open();
      await refused(
        location,
        "LOCKED",
        /in use by another process.*: stop the other process, .* use another directory/,
      );
      const script = `
        import { ${name}Storage } from "${entry}";
        const backend = ${name}Storage(process.argv[1]);
        await backend.open().catch(({ code, message }) => console.log(code, message));
        if (backend.status === "open") { console.log("open"); process.kill(process.pid, "SIGKILL"); }
      `;
      const args = ["--no-warnings", "--input-type=module", "-e", script, location];
      const run = (): string => {
        try {
          return execFileSync(process.execPath, args, { encoding: "utf8", timeout: 15_000 });
        } catch (error) {
          return (error as { stdout: string }).stdout;
        }
      };
      expect(run()).toMatch(/^LOCKED .*stop the other process, .* use another directory/);
      await first.close();
      expect(run()).toBe("open\n");
      await first.open();
      expect(await count(first)).toBe(0);
    });

    it("that another thread asks for stays locked for other processes", async () => {
      await using first = make(directory);
      await first.open();
      const open = `
        import(${JSON.stringify(entry)})
          .then((module) => module.${name}Storage(${JSON.stringify(directory)}).open())
          .then(() => "open", ({ code }) => code)
          .then((result) => require("node:worker_threads").parentPort?.postMessage(result) ?? console.log(result));
      `;
      const thread = new Worker(open, { eval: true, execArgv: [] });
      expect((await once(thread, "message"))[0]).toBe("LOCKED");
      await thread.terminate();
      const args = ["--no-warnings", "-e", open];
      expect(execFileSync(process.execPath, args, { encoding: "utf8", timeout: 15_000 })).toBe("LOCKED\n");
    });
  });
}
