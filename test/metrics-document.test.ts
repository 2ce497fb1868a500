import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { type Metric, createNode } from "coppice";

const root = join(import.meta.dirname, "..");
const document = await readFile(join(root, "docs", "metrics.md"), "utf8");

interface Row {
  readonly name: string;
  readonly kind: string;
  readonly labels: readonly string[];
}

function rows(text: string): Row[] {
  const lines = text.matchAll(/^\| `(coppice_\w+)` \| (\w+) \| ?(.*?) ?\| .+ \|$/gm);
  return [...lines].map(([, name = "", kind = "", labels = ""]) => ({
    name,
    kind,
    labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = ""]) => label),
  }));
}

const [ofNode = "", ofServer = ""] = document.split("The HTTP server adds its own:");

test("docs/metrics.md lists every figure of a node, with its kind and labels", async () => {
  await using node = await createNode({ types: [] });
  const told: Row[] = [];
  const add =
    (kind: string) =>
    ({ name, labels }: Metric): void =>
      void told.push({ name, kind, labels });
  node.exportMetrics({
    counter: add("counter"),
    gauge: add("gauge"),
    histogram: (metric) => {
      add("histogram")(metric);
      return () => {};
    },
  });
  expect(rows(ofNode)).toEqual(told);
});

test("docs/metrics.md lists every figure of the server", async () => {
  const source = await readFile(join(root, "packages/server/src/http/metrics.ts"), "utf8");
  const names = [...source.matchAll(/"(coppice_\w+)"/g)].map(([, name]) => name);
  expect(new Set(rows(ofServer).map(({ name }) => name))).toEqual(new Set(names));
});

test("the example of docs/metrics.md prints what its comment says", async () => {
  const [, program = ""] = /^```ts\n(.*?)^```$/ms.exec(document) ?? [];
  const folder = join(import.meta.dirname, ".tsbuild", `metrics-document-${process.pid}`);
  await mkdir(folder, { recursive: true });
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    await writeFile(join(folder, "program.ts"), program);
    await import(join(folder, "program.ts"));
    expect(log.mock.calls).toEqual([[1]]);
  } finally {
    log.mockRestore();
    await rm(folder, { recursive: true });
  }
});
