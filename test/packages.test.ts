import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

interface Manifest {
  name: string;
  exports: Record<string, unknown>;
  bin?: Record<string, string>;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = readdirSync(`${root}/packages`);

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(`${root}/packages/${folder}/package.json`, "utf8")) as Manifest;
}

/** Runs Node on the built packages, as a user's program would. */
function node(...args: string[]): string {
  return execFileSync(process.execPath, args, { cwd: `${root}/test`, encoding: "utf8" });
}

describe("the built packages", () => {
  const specifiers = folders.map(manifest).flatMap(({ name, exports }) =>
    Object.keys(exports)
      .filter((path) => path !== "./package.json")
      .map((path) => name + path.slice(1)),
  );

  test.each(specifiers)("import %s under plain Node", (specifier) => {
    const script = `import(${JSON.stringify(specifier)}).then(() => console.log("loaded"))`;
    expect(node("--input-type=module", "--eval", script)).toBe("loaded\n");
  });

  test.each(folders)("packages/%s emits no tests into dist", (folder) => {
    const emitted = readdirSync(`${root}/packages/${folder}/dist`, { recursive: true, encoding: "utf8" });
    expect(emitted).toContain("index.js");
    expect(emitted.filter((file) => /\.test(-support)?\./.test(file))).toEqual([]);
  });

  test("the command has a shebang", () => {
    const bin = manifest("server").bin?.["coppice"];
    expect(readFileSync(`${root}/packages/server/${bin}`, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});
