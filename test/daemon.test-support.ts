import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";

const manifestPath = createRequire(import.meta.url).resolve("coppice/package.json");

/** The built command, as npm links it. */
export const COMMAND: string = join(dirname(manifestPath), "dist", "cli", "main.js");

export interface Result {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** A line of the log of `coppice start`. */
export interface LogLine {
  readonly event: string;
  readonly message: string;
  readonly level: string;
  readonly peerId?: string;
  readonly addresses?: readonly string[];
  readonly url?: string;
  readonly tokenFile?: string;
  readonly groups?: number;
}

/** A directory that is removed at the end of the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "coppice-cli-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

/** Runs the command to its end. */
export function coppice(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  const child = start(args, env);
  return finished(child);
}

/** A daemon that has said it is ready; killed at the end of the test if it still runs. */
export class Daemon {
  readonly ready: LogLine;
  readonly child: ChildProcess;
  readonly #result: Promise<Result>;
  readonly #lines: LogLine[];

  /** Its data directory. */
  readonly data: string;

  private constructor(data: string, child: ChildProcess, result: Promise<Result>, lines: LogLine[], ready: LogLine) {
    this.data = data;
    this.child = child;
    this.#result = result;
    this.#lines = lines;
    this.ready = ready;
  }

  static async start(data: string, ...args: string[]): Promise<Daemon> {
    const child = start(["start", "--data", data, "--http", "127.0.0.1:0", ...args]);
    onTestFinished(async () => {
      child.kill("SIGKILL");
      await result;
    });
    const lines: LogLine[] = [];
    let isReady: (line: LogLine) => void = () => {};
    const ready = new Promise<LogLine>((resolve) => (isReady = resolve));
    let rest = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const line = JSON.parse(part) as LogLine;
        lines.push(line);
        if (line.event === "ready") isReady(line);
      }
    });
    const result = finished(child);
    const ended = result.then(({ status, err }) => {
      throw new Error(`the daemon ended with status ${status}: ${err}`);
    });
    ended.catch(() => {});
    return new Daemon(data, child, result, lines, await Promise.race([ready, ended]));
  }

  get address(): string {
    return this.ready.addresses?.[0] ?? "";
  }

  /** The address without the peer's id, to listen on again. */
  get listenAddress(): string {
    return this.address.replace(/\/p2p\/.*$/, "");
  }

  get events(): readonly string[] {
    return this.#lines.map(({ event }) => event);
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Result> {
    this.child.kill(signal);
    return await this.#result;
  }
}

/** Repeats a question until its answer is right. */
export async function until(isRight: () => Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await isRight())) {
    if (performance.now() > end) throw new Error(`not so after ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const { COPPICE_DATA: _data, COPPICE_URL: _url, ...inherited } = process.env;
  return spawn(process.execPath, [COMMAND, ...args], {
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function finished(child: ChildProcess): Promise<Result> {
  let out = "";
  let err = "";
  child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, out, err }));
  });
}
