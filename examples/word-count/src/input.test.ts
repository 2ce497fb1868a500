import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChunkReader } from "./chunks.ts";
import { type Input, checkUnchanged, chunksOf, surveyInput } from "./input.ts";
import { countSequentially } from "./sequential-count.ts";
import { words } from "./words.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coppice-input-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Counts as the nodes do: chunk by chunk, each chunk in one share. */
async function countChunks(input: Input, nodes: number): Promise<Map<string, number>> {
  const reader = new ChunkReader(input);
  const counts = new Map<string, number>();
  for (let index = 0; index < nodes; index++) {
    const share = { index, nodes };
    for (let chunk = 0; chunk < chunksOf(input, share); chunk++) {
      for (const text of await reader.read(share, chunk)) {
        for (const word of words(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
      }
    }
  }
  return counts;
}

describe("chunks", () => {
  const part = fc.constantFrom("a", "Bee", "don't", "’", "é", "中文", "𝒳𝒴", " ", "\n", ", ", "_", "x".repeat(90));
  const texts = fc.array(
    fc.array(part, { maxLength: 40 }).map((parts) => parts.join("")),
    { minLength: 1, maxLength: 4 },
  );

  test("hold every word exactly once, wherever they are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        texts,
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 4 }),
        async (all, cut, nodes) => {
          const files = await Promise.all(all.map((text, index) => write(`property-${index}.txt`, text)));
          const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
          const input = { files, bytes, chunkBytes: cut, chunks: Math.ceil(bytes / cut) };
          const expected = new Map<string, number>();
          for (const text of all) for (const word of words(text)) expected.set(word, (expected.get(word) ?? 0) + 1);
          expect(await countChunks(input, nodes)).toEqual(expected);
          expect((await countSequentially(input)).counts).toEqual(expected);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("agree with a sequential count where the bytes are no UTF-8", async () => {
    const noise = Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 7919 + (index >> 3)) % 255 || 32));
    const file = await write("noise.txt", noise);
    for (const chunkBytes of [1, 3, 7, 64, 1000]) {
      const input = { files: [file], bytes: file.bytes, chunkBytes, chunks: Math.ceil(file.bytes / chunkBytes) };
      expect(await countChunks(input, 3)).toEqual((await countSequentially(input)).counts);
    }
  });

  test("count a word that is longer than what a stream reads at once", async () => {
    const file = await write("long.txt", `start ${"long".repeat(100_000)} end`);
    const input = { files: [file], bytes: file.bytes, chunkBytes: 65_536, chunks: Math.ceil(file.bytes / 65_536) };
    const expected = new Map([
      ["start", 1],
      ["long".repeat(16), 1],
      ["end", 1],
    ]);
    expect(await countChunks(input, 3)).toEqual(expected);
    expect((await countSequentially(input)).counts).toEqual(expected);
  });

  async function write(name: string, content: string | Buffer) {
    const path = join(folder, name);
    await writeFile(path, content);
    return { path, bytes: Buffer.byteLength(content), modifiedMs: 0 };
  }
});

describe("surveyInput", () => {
  test("finds text files, in order, and passes over the rest", async () => {
    const root = join(folder, "tree");
    await mkdir(join(root, "b", "node_modules"), { recursive: true });
    await mkdir(join(root, ".git"));
    const contents: Record<string, string> = {
      "c.md": "third file",
      "a.txt": "first file",
      "b/b.ts": "second file",
      "b/node_modules/no.ts": "skipped",
      ".git/config": "skipped",
      "binary.txt": "skipped\0",
    };
    for (const [name, content] of Object.entries(contents)) await writeFile(join(root, name), content);
    await symlink(root, join(root, "loop"));

    const input = await surveyInput(root);
    expect(input.files.map(({ path }) => basename(path))).toEqual(["a.txt", "b.ts", "c.md"]);
    expect(input.bytes).toBe("first filesecond filethird file".length);
    const sources = await surveyInput(root, true);
    expect(sources.files.map(({ path }) => basename(path))).toEqual(["b.ts", "c.md"]);
  });

  test("says what is wrong with an input", async () => {
    await mkdir(join(folder, "empty"));
    await writeFile(join(folder, "short.txt"), "hello");
    await writeFile(join(folder, "zero.bin"), Buffer.alloc(100));
    await expect(surveyInput(join(folder, "missing"))).rejects.toThrow(/cannot read .*missing.*ENOENT/);
    await expect(surveyInput(join(folder, "empty"))).rejects.toThrow(/holds no text file/);
    await expect(surveyInput(join(folder, "short.txt"))).rejects.toThrow(/5 bytes of text; at least 12/);
    await expect(surveyInput(join(folder, "zero.bin"))).rejects.toThrow(/no text file/);
  });

  test("cuts a small input into enough chunks, a large one into small enough ones", async () => {
    const path = join(folder, "sized.txt");
    for (const [bytes, chunks] of [
      [12, 12],
      [600, 600],
      [100_000, 599],
    ] as const) {
      await writeFile(path, "x".repeat(bytes));
      expect((await surveyInput(path)).chunks).toBe(chunks);
    }
    await writeFile(path, "x".repeat(100 * 65_536 * 8));
    expect((await surveyInput(path)).chunkBytes).toBe(65_536);
  });

  test("notices that a file changed", async () => {
    const path = join(folder, "changing.txt");
    await writeFile(path, "some words to count");
    const input = await surveyInput(path);
    await checkUnchanged(input);
    await writeFile(path, "some other words to count");
    await expect(checkUnchanged(input)).rejects.toThrow(/changing\.txt changed/);
    await rm(path);
    await expect(checkUnchanged(input)).rejects.toThrow(/changing\.txt changed/);
  });
});
