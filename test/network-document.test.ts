import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const document = await readFile(join(root, "docs", "network.md"), "utf8");

it("the snippet of docs/network.md makes a transport", async () => {
  const [, snippet = ""] = /^```ts\n(.*?)^```$/ms.exec(document) ?? [];
  const folder = join(import.meta.dirname, ".tsbuild", `network-document-${process.pid}`);
  await mkdir(folder, { recursive: true });
  try {
    await writeFile(join(folder, "snippet.ts"), `${snippet}\nexport { transport };\n`);
    const { transport } = await import(join(folder, "snippet.ts"));
    expect(transport.addresses()).toEqual([]);
    await transport.stop();
  } finally {
    await rm(folder, { recursive: true });
  }
});

it("docs/network.md says the limits that the code has", async () => {
  const source = (path: string): Promise<string> =>
    readFile(join(root, "packages", "replication", "src", path), "utf8");
  const numberOf = (text: string, name: string): number =>
    Number(new RegExp(String.raw`${name}\D+([\d_]+)`).exec(text)?.[1]?.replaceAll("_", ""));
  const exchange = await source("core/peer-exchange.ts");
  const dialler = await source("libp2p/dialler.ts");
  expect(document).toContain(`fewer than ${numberOf(exchange, "LINKS_WANTED =")} links`);
  expect(document).toContain(`fewer than ${numberOf(exchange, "LINKS_PER_DOMAIN_WANTED =")} to peers`);
  expect([numberOf(dialler, "HINT_FAILURES_MAX ="), numberOf(dialler, "HINT_FAILURES_MAX_ONCE_LINKED =")]).toEqual([
    10, 40,
  ]);
  expect(document).toMatch(/after ten failures, or after forty/);
});
