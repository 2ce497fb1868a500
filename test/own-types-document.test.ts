import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AnyCrdtType, createMemoryNetwork, createNode } from "coppice";
import { afterAll, describe, expect, it } from "vitest";
import { crdtSuite } from "@coppice/crdt/testing";

// The type that docs/own-types.md writes, and the call of the suite there, taken from its text.
const document = await readFile(join(import.meta.dirname, "..", "docs", "own-types.md"), "utf8");
const [source = "", call = ""] = [...document.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);

// Below this directory, so that its imports find the workspace's packages.
const folder = join(import.meta.dirname, ".tsbuild", `own-types-${process.pid}`);
await mkdir(folder, { recursive: true });
await writeFile(join(folder, "highest.ts"), source);
const { highest } = (await import(join(folder, "highest.ts"))) as { highest: AnyCrdtType };

afterAll(async () => {
  await rm(folder, { recursive: true });
});

const runSuite = call.replaceAll(/^import .*$/gm, "").replaceAll(" as number[]", "");
// oxlint-disable-next-line typescript/no-implied-eval -- the documentation is the code under test.
new Function("describe", "it", "crdtSuite", "highest", runSuite)(describe, it, crdtSuite, highest);

it("the type of docs/own-types.md replicates", async () => {
  const network = createMemoryNetwork();
  await using a = await createNode({ types: [highest], transport: network.transport("a") });
  await using b = await createNode({ types: [highest], transport: network.transport("b") });
  await b.connect("memory:/a");
  const [onA, onB] = [await a.open("bids", highest), await b.open("bids", highest)];
  await onA.mutate((bids: { raise(to: number): void }) => bids.raise(7), { ack: { replicas: 1 } });
  await onB.mutate((bids: { raise(to: number): void }) => bids.raise(3));
  expect([onA.value(), onB.value()]).toEqual([7, 7]);
});
