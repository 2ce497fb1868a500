import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createGroupStore, type StorageBackend } from "@coppice/storage";
import { registerStorageScheme, resolveStorage } from "@coppice/storage/registry";
import { backendSuite } from "@coppice/storage/testing";

// The backend that docs/backends.md writes, taken from its text.
const document = await readFile(join(import.meta.dirname, "..", "docs", "backends.md"), "utf8");
const [source = ""] = [...document.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);

// Below this directory, so that its imports find the workspace's packages.
const folder = join(import.meta.dirname, ".tsbuild", `document-${process.pid}`);
await mkdir(folder, { recursive: true });
await writeFile(join(folder, "journal-file.ts"), source);
const { JournalFile } = (await import(join(folder, "journal-file.ts"))) as {
  JournalFile: new (path: string) => StorageBackend;
};

afterAll(async () => {
  await rm(folder, { recursive: true });
});

backendSuite({
  describe,
  it,
  name: "the backend of docs/backends.md",
  async create() {
    const directory = await mkdtemp(join(tmpdir(), "coppice-document-"));
    const path = join(directory, "data.jsonl");
    const another = () => new JournalFile(path);
    return { backend: another(), another, cleanup: () => rm(directory, { recursive: true }) };
  },
});

it("the backend of docs/backends.md carries groups, and can be named by URI", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-document-"));
  registerStorageScheme("journal-file", (location) => new JournalFile(location));
  await using store = createGroupStore(await resolveStorage(`journal-file:${directory}/data.jsonl`));
  await store.open();
  await store.writeNode({ nodeId: "n", starts: 1, clean: true, peers: [] });
  expect(await store.readNode()).toMatchObject({ nodeId: "n" });
  await store.close();
  await rm(directory, { recursive: true });
});
