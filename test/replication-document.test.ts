import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, test, vi } from "vitest";

const document = await readFile(join(import.meta.dirname, "..", "docs", "replication.md"), "utf8");

test("the examples of docs/replication.md are a program that prints what its comments say", async () => {
  const snippets = [...document.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code);
  const program = snippets.join("\n");
  const promised = [...program.matchAll(/console\.log\(.*\);[ \t]*\/\/[ \t]*(.+)$/gm)].map(([, comment]) => comment);
  expect(promised.length).toBeGreaterThan(1);
  const folder = join(import.meta.dirname, ".tsbuild", `replication-document-${process.pid}`);
  await mkdir(folder, { recursive: true });
  const printed: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...words: unknown[]) => {
    printed.push(words.map((word) => (typeof word === "string" ? word : inspect(word))).join(" "));
  });
  try {
    const file = join(folder, "program.ts");
    await writeFile(file, program);
    await import(file);
  } finally {
    log.mockRestore();
    await rm(folder, { recursive: true });
  }
  expect(printed).toEqual(promised);
});
