// The static checks, each one pass or fail: lint, format, types, and what would be published.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs every check, prints its name and result, and returns the names by result. */
export async function runChecks() {
  const checks = [
    ["lint", () => tool("oxlint", "oxlint", ["--type-aware", "--deny-warnings"])],
    ["format", () => tool("oxfmt", "oxfmt", ["--check"])],
    ["types", () => tool("typescript", "tsc", ["-b"])],
    ...publishedPackages().map((folder) => [`publint ${folder}`, () => lintPackage(folder)]),
  ];
  const result = { passed: [], failed: [] };
  for (const [name, check] of checks) {
    const ok = await check();
    console.log(`${ok ? "ok  " : "FAIL"} ${name}`);
    (ok ? result.passed : result.failed).push(name);
  }
  return result;
}

/** Runs a tool of this workspace; its output is shown only when it fails. */
function tool(packageName, bin, args) {
  const folder = join(root, "node_modules", packageName);
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = typeof manifest.bin === "string" ? manifest.bin : manifest.bin[bin];
  const result = spawnSync(process.execPath, [join(folder, file), ...args], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });
  if (result.status === 0) return true;
  console.log(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error ? result.error.message : ""}`.trimEnd());
  return false;
}

function publishedPackages() {
  return readdirSync(join(root, "packages"))
    .map((name) => `packages/${name}`)
    .filter((folder) => existsSync(join(root, folder, "package.json")));
}

async function lintPackage(folder) {
  const { publint } = await import("publint");
  const { formatMessage } = await import("publint/utils");
  const pkgDir = join(root, folder);
  const { messages } = await publint({ pkgDir, pack: false, level: "warning", strict: true });
  const manifest = JSON.parse(readFileSync(join(pkgDir, "package.json"), "utf8"));
  for (const message of messages) console.log(`${folder}: ${formatMessage(message, manifest) ?? message.code}`);
  return messages.length === 0;
}
