// Installs the dependencies and builds every package. Runs before `npm start` and `npm test`.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pnpm = "pnpm@12.21.0";
const stamp = join(root, "node_modules", ".coppice-setup");
// `npm test` has a check of its own for the types, which then fails in its total instead of here.
const buildMayFail = process.argv.includes("--build-may-fail");

checkNodeVersion();
const done = existsSync(stamp) ? JSON.parse(readFileSync(stamp, "utf8")) : {};
const installInput = digest(installInputs());
if (done.install !== installInput) {
  install();
  record({ install: installInput });
}
// An incremental build keeps old results when only compiler options changed.
const compilerOptions = digest(["tsconfig.base.json"]);
build(done.options !== compilerOptions);
record({ options: compilerOptions });

function checkNodeVersion() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  fail(
    `Coppice needs Node.js 20.19 or newer; this is ${process.version}. Install a newer Node.js and run the command again.`,
  );
}

/** Every file that decides what is installed. */
function installInputs() {
  const folders = ["packages", "examples"].flatMap((parent) =>
    readdirSync(join(root, parent)).map((name) => join(parent, name)),
  );
  const manifests = [".", "test", "bench", ...folders].map((folder) => join(folder, "package.json"));
  return ["pnpm-lock.yaml", "pnpm-workspace.yaml", ...manifests.filter((file) => existsSync(join(root, file)))];
}

function digest(files) {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch} ${process.versions.modules}\n`);
  for (const file of files.toSorted())
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update("\0");
  return hash.digest("hex");
}

function record(entries) {
  writeFileSync(stamp, JSON.stringify(Object.assign(done, entries)));
}

function install() {
  console.log("Installing dependencies ...");
  // CI stops pnpm from asking before it replaces a node_modules folder that something else made.
  const env = { ...process.env, CI: "true", npm_config_update_notifier: "false" };
  const args = [
    "--yes",
    "--prefer-offline",
    pnpm,
    "install",
    "--frozen-lockfile",
    "--prefer-offline",
    "--reporter=append-only",
  ];
  run("npx", args, env, [
    "Installing the dependencies failed; the reason stands above.",
    "No network? The first install needs the npm registry (or a filled cache).",
    `Changed a package.json? Update the lockfile: npx --yes --prefer-offline ${pnpm} install`,
  ]);
}

function build(force) {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = [tsc, "-b", ...(force ? ["--force"] : [])];
  run(process.execPath, args, process.env, ["The build failed: the compiler's messages stand above."], buildMayFail);
}

function run(command, args, env, advice, mayFail = false) {
  const shell = process.platform === "win32" && command === "npx";
  const result = spawnSync(command, args, { cwd: root, env, shell, stdio: ["ignore", "inherit", "inherit"] });
  if (result.error) fail(`Could not start ${command}: ${result.error.message}`);
  if (result.status !== 0 && !mayFail) fail(advice.join("\n"));
}

function fail(message) {
  console.error(`\n${message}`);
  process.exit(1);
}
