import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { DomainSettings } from "./domain-settings.ts";
import { openStorage } from "@coppice/storage/registry";
import {
  type Layout,
  checkFormerHome,
  createStorage,
  layoutOf,
  movedStorages,
  readLayout,
  writeLayout,
} from "./layout.ts";

const DATA = "/data";

function layout(domains: Record<string, DomainSettings>, storage?: string): Layout {
  return layoutOf(DATA, { domains: new Map(Object.entries(domains)), ...(storage === undefined ? {} : { storage }) });
}

test("a domain has a place of its own when it names one, or is kept in memory", () => {
  const { domains } = layout({
    plain: { type: "gcounter" },
    "a/b.": { inMemory: true, autoSave: 2 },
    far: { storage: "level:/far" },
  });
  expect([...domains]).toEqual([
    ["a/b.", { storage: { scheme: "level", location: "/data/domains/a%2Fb%2E" }, inMemory: true, autoSaveMs: 2000 }],
    ["far", { storage: { scheme: "level", location: "/far" }, inMemory: false }],
  ]);
});

test("domains share a storage only when they keep it alike", () => {
  const same = { storage: "level:/x", inMemory: true };
  expect(layout({ a: same, b: same }).domains.size).toBe(2);
  expect(() => layout({ a: same, b: { storage: "level:/x" } })).toThrow("domains.b.storage is also where domains.a");
  expect(() => layout({ a: { storage: "level:/data", inMemory: true } })).toThrow("is also where the node stores");
});

test("a storage that there is not is told with its setting", async () => {
  await expect(createStorage(DATA, layout({ a: { storage: "levle:/x" } }))).rejects.toThrow(
    "domains.a.storage: no storage",
  );
  await expect(createStorage(DATA, layout({}, "nope:x"))).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  expect(() => layout({ a: { storage: "{" } })).toThrow("domains.a.storage: storage options that are no JSON");
});

test("is found again, and what has moved is noticed", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-layout-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  expect(await readLayout(directory)).toBeUndefined();
  const before = layout({ a: { storage: "level:/a" }, b: { inMemory: true, autoSave: false } }, "memory:");
  await writeLayout(directory, before);
  expect(await readLayout(directory)).toEqual(before);
  expect(movedStorages(DATA, before, before)).toEqual([]);
  const now = layout({ a: { storage: "level:/other" }, b: { inMemory: true } });
  expect(movedStorages(DATA, before, now)).toEqual([
    "what the node keeps itself, its identity among it, is stored in level:/data, at the last start in memory",
    "domain a is stored in level:/other, at the last start in level:/a",
  ]);
});

test("a node that still runs with the storage of the last start keeps another one out, whatever its storage", async () => {
  const directory = await mkdtemp(join(tmpdir(), "coppice-layout-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const home = `level:${join(directory, "home")}`;
  const [before, now] = [layout({}, home), layout({}, `lmdb:${join(directory, "other")}`)];
  await using running = await openStorage(home);
  await expect(checkFormerHome(DATA, before, now)).rejects.toMatchObject({
    code: "LOCKED",
    message: `${DATA} is in use by a node that stores in ${home}: stop it first, or take another directory`,
  });
  await checkFormerHome(DATA, before, before);
  await running.close();
  await checkFormerHome(DATA, before, now);
});
