import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryDirectory } from "./support/temporary.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const FIRST_LINE = 'import { createNode, gCounter } from "coppice";';

/** The fenced TypeScript block of the README that begins with the example's first line. */
function embeddingExample(): string {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code ?? "");
  const examples = blocks.filter((code) => code.startsWith(FIRST_LINE));
  expect(examples, `README.md has one ts block that starts with ${FIRST_LINE}`).toHaveLength(1);
  return examples[0] ?? "";
}

/** The TypeScript block of a page of docs. */
function exampleOf(page: string): string {
  const [, code = ""] = /^```ts\n(.*?)^```$/ms.exec(readFileSync(join(root, "docs", page), "utf8")) ?? [];
  return code;
}

/** What the comments behind `console.log(…);` say that is printed. */
function promisedOutput(code: string): string[] {
  return [...code.matchAll(/console\.log\(.*\);[ \t]*\/\/[ \t]*(.+)$/gm)].map(([, comment]) => comment?.trim() ?? "");
}

/** A program's own folder, where `coppice` is installed. */
function projectWith(code: string): string {
  const folder = temporaryDirectory("embedding");
  mkdirSync(join(folder, "node_modules"));
  for (const name of ["coppice", "@types"]) {
    const from = name === "coppice" ? join(root, "packages/server") : join(root, "node_modules", name);
    symlinkSync(from, join(folder, "node_modules", name), "dir");
  }
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
  writeFileSync(join(folder, "example.ts"), code);
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { target: "es2023", module: "nodenext", strict: true, types: ["node"], skipLibCheck: false },
    }),
  );
  return folder;
}

test("the embedding example of the README compiles, prints what its comments say, and ends by itself", () => {
  const code = embeddingExample();
  const promised = promisedOutput(code);
  expect(promised).toContain("6");
  const folder = projectWith(code);
  const node = (...args: string[]): string =>
    execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", timeout: 30_000 });
  // As a user would: their own compiler, then plain Node.
  expect(node(join(root, "node_modules/typescript/bin/tsc"), "-p", ".")).toBe("");
  expect(node("example.js").trimEnd().split("\n")).toEqual(promised);
  // Another run finds the same group in the same directory, and adds its 6.
  expect(node("example.js")).toBe("12\n");
});

test("the types compile in a page, without those of Node and without the newest libraries", () => {
  const folder = projectWith(`
    import { createNode, lwwMap, type ReplicaOf } from "coppice";
    import { levelStorage } from "coppice/level";
    import { automergeDoc } from "coppice/automerge";
    interface Page { title: string; parts: { name: string }[] }
    const todo = lwwMap<string>();
    const page = automergeDoc<Page>();
    const node = await createNode({ types: [todo, page], storage: levelStorage("app") });
    export const list: ReplicaOf<typeof todo> = await node.open("todo", todo);
    export const title: string = (await node.open("page", page)).value().title;
  `);
  const compilerOptions = {
    target: "es2022",
    lib: ["es2022", "dom"],
    module: "esnext",
    moduleResolution: "bundler",
    strict: true,
    noEmit: true,
    types: [],
    skipLibCheck: false,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = spawnSync(process.execPath, [compiler, "-p", "."], { cwd: folder, encoding: "utf8" });
  expect(stdout).toBe("");
});

test("the example of docs/http.md compiles, serves its node, and ends by itself", () => {
  const code = exampleOf("http.md");
  const folder = projectWith(code);
  const node = (...args: string[]): string =>
    execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", timeout: 30_000 });
  expect(node(join(root, "node_modules/typescript/bin/tsc"), "-p", ".")).toBe("");
  expect(node("example.js").trimEnd().split("\n")).toEqual(promisedOutput(code));
});
