import { gCounter } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { levelStorage } from "@coppice/storage/level";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { checkDirectory, exportDirectory, importDirectory, repairDirectory } from "./offline.ts";

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "coppice-offline-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return join(path, "data");
}

async function count(data: string, ids: readonly string[]): Promise<void> {
  const node = await createNode({ types: [gCounter], storage: levelStorage(data) });
  for (const id of ids) await (await node.open(["n", id], gCounter)).mutate((counter) => counter.increment(2));
  await node.close();
}

test("checks and repairs a whole directory, and refuses one that is none or in use", async () => {
  const data = await directory();
  await expect(checkDirectory(data)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  await count(data, ["a", "b"]);
  expect(await checkDirectory(data)).toMatchObject({ groups: 2, damaged: 0 });
  expect(await repairDirectory(data)).toMatchObject({ after: { damaged: 0 }, degraded: [] });
  const node = await createNode({ types: [gCounter], storage: levelStorage(data) });
  onTestFinished(() => node.close());
  await expect(checkDirectory(data)).rejects.toMatchObject({ code: "LOCKED" });
  await expect(importDirectory(data, exportDirectory(data))).rejects.toMatchObject({ code: "LOCKED" });
});

test("has an engine mend its own files where it cannot read them, and then finds all that was there", async () => {
  for (const file of ["CURRENT", "MANIFEST"]) {
    const data = await directory();
    await count(data, ["a", "b"]);
    const names = await readdir(join(data, "db"));
    const path = join(data, "db", names.find((name) => name.startsWith(file)) ?? "");
    const bytes = await readFile(path);
    bytes[9] = (bytes[9] ?? 0) ^ 4;
    await writeFile(path, bytes);
    await expect(checkDirectory(data)).rejects.toMatchObject({ code: "CORRUPT", message: /coppice repair/ });
    const report = await repairDirectory(data);
    expect(report).toMatchObject({ engines: [`level:${data}`], before: { groups: 2 }, after: { damaged: 0 } });
    expect(await repairDirectory(data)).toMatchObject({ engines: [], before: { damaged: 0 } });
    const node = await createNode({ types: [gCounter], storage: levelStorage(data) });
    onTestFinished(() => node.close());
    for (const id of ["a", "b"]) expect((await node.open(["n", id], gCounter)).value()).toBe(2);
  }
});

test("exports, and imports into another directory, twice", async () => {
  const [from, into] = [await directory(), await directory()];
  await count(from, ["a", "b", "c"]);
  expect(await importDirectory(into, exportDirectory(from, { prefix: ["n", "b"] }))).toMatchObject({ imported: 1 });
  expect(await importDirectory(into, exportDirectory(from))).toMatchObject({ imported: 2, present: 1 });
  const node = await createNode({ types: [gCounter], storage: levelStorage(into) });
  onTestFinished(() => node.close());
  for (const id of ["a", "b", "c"]) expect((await node.open(["n", id], gCounter)).value()).toBe(2);
});

test("a group with other content is refused, or left alone", async () => {
  const [from, into] = [await directory(), await directory()];
  await count(from, ["a"]);
  await count(into, ["a"]);
  await expect(importDirectory(into, exportDirectory(from))).rejects.toMatchObject({ code: "EXISTS" });
  expect(await importDirectory(into, exportDirectory(from), { skipExisting: true })).toMatchObject({ skipped: 1 });
});
