import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { VersionVector } from "@coppice/crdt";
import { createGroupStore } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";

const root = join(import.meta.dirname, "..");
const document = await readFile(join(root, "docs", "storage.md"), "utf8");
const snippets = [...document.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code);

it("the snippets of docs/storage.md run", async () => {
  const folder = join(import.meta.dirname, ".tsbuild", `storage-document-${process.pid}`);
  const data = await mkdtemp(join(tmpdir(), "coppice-document-"));
  await mkdir(folder, { recursive: true });
  await using store = createGroupStore(levelStorage(join(data, "data")));
  await store.open();
  const meta = {
    type: "counter",
    epoch: 1,
    vector: new VersionVector(),
    frontier: [],
    time: 1,
    digest: [0, 0],
  } as const;
  await store.commit({ snapshots: [{ ...meta, id: ["words", "a"], journalPosition: 0, body: new Uint8Array(9) }] });
  await store.close();
  const printed: unknown[][] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...words: unknown[]) => void printed.push(words));
  try {
    for (const [index, snippet] of snippets.entries()) {
      const file = join(folder, `snippet-${index}.ts`);
      // The snippets name places in the working directory, which the tests must not litter.
      await writeFile(
        file,
        snippet
          .replaceAll("./data", `${data}/data`)
          .replaceAll("./other", `${data}/other`)
          .replaceAll("backup.coppice", `${data}/backup`),
      );
      await import(file);
    }
  } finally {
    log.mockRestore();
    await rm(folder, { recursive: true });
    await rm(data, { recursive: true });
  }
  expect(printed.flat()).toEqual([
    1,
    expect.objectContaining({
      id: ["words", "a"],
      snapshots: [expect.objectContaining({ generation: 0 }), expect.objectContaining({ generation: 1 })],
    }),
    10_000,
    false,
    expect.objectContaining({ groups: 1, imported: 1 }),
  ]);
});

it("docs/storage.md names files that exist", async () => {
  const files = [...document.matchAll(/^\| [^|]+ \| `([a-z-]+\.ts)` \|$/gm)].map(([, file = ""]) => file);
  expect(files.length).toBeGreaterThan(8);
  for (const file of files) {
    expect(await readFile(join(root, "packages", "storage", "src", file), "utf8")).toMatch(/^\/\*\*/);
  }
});
