import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "microsoft-edge"];

/** Nothing but what the page asks for: no updates, no telemetry, no first-run pages. */
const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const NO_CHROMIUM =
  "no Chromium found: install it (Debian: apt-get install chromium), or set CHROMIUM_PATH to its executable";

/** An installed Chromium: that of CHROMIUM_PATH, else the first of the usual names on the PATH. */
export function findChromium(): string | undefined {
  const chosen = process.env["CHROMIUM_PATH"];
  if (chosen !== undefined && chosen !== "") {
    if (!existsSync(chosen)) throw new Error(`CHROMIUM_PATH names no file: ${chosen}`);
    return chosen;
  }
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}

/** A browser with a profile of its own, which outlives restarts of the browser and goes with `remove`. */
export class Profile {
  readonly #executable: string;
  readonly #directory: string = mkdtempSync(join(tmpdir(), "coppice-chromium-"));
  #context: BrowserContext | undefined;

  constructor(executable: string) {
    this.#executable = executable;
  }

  /** Starts the browser, or gives the one that runs. */
  async context(): Promise<BrowserContext> {
    this.#context ??= await chromium.launchPersistentContext(this.#directory, {
      executablePath: this.#executable,
      headless: true,
      args: QUIET,
    });
    return this.#context;
  }

  /** Ends the browser. Its data stays. */
  async stop(): Promise<void> {
    const context = this.#context;
    this.#context = undefined;
    await context?.close();
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
