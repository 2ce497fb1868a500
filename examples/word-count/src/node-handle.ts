import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { CallMessage, NodeApi, NodeConfig, NodeMessage, Progress, Started } from "./messages.ts";

const PROGRAM = fileURLToPath(new URL("node-process.js", import.meta.url));
const STOP_PATIENCE_MS = 10_000;

/** What a node process says without being asked. */
export interface NodeWatcher {
  onProgress(node: NodeHandle): void;
  onNotice(node: NodeHandle, code: string, message: string): void;
  /** The node failed, or its process ended by itself. */
  onFailure(node: NodeHandle, error: Error): void;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A node as the parent process sees it, over all the processes that it has had. */
export class NodeHandle {
  readonly config: NodeConfig;
  /** How many chunks the node's share has. */
  readonly chunks: number;
  readonly #watcher: NodeWatcher;
  readonly #waiting = new Map<number, Waiting>();
  #child: ChildProcess | undefined;
  #started: Started | undefined;
  #calls = 0;
  #progress: Progress = { chunks: 0, writes: 0, increments: 0 };
  #earlier: Progress = { chunks: 0, writes: 0, increments: 0 };

  constructor(config: NodeConfig, chunks: number, watcher: NodeWatcher) {
    this.config = config;
    this.chunks = chunks;
    this.#watcher = watcher;
  }

  get name(): string {
    return this.config.name;
  }

  get isRunning(): boolean {
    return this.#started !== undefined;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Where the node can be dialled; none while it does not run. */
  get addresses(): readonly string[] {
    return this.#started?.addresses ?? [];
  }

  /** What is acknowledged, by all processes of the node together. */
  get progress(): Progress {
    return {
      chunks: this.#progress.chunks,
      writes: this.#earlier.writes + this.#progress.writes,
      increments: this.#earlier.increments + this.#progress.increments,
    };
  }

  /** Starts a process for the node, and the node in it. */
  async start(): Promise<Started> {
    const child = fork(PROGRAM, [], { serialization: "advanced", stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child = child;
    this.#earlier = this.progress;
    this.#progress = { chunks: this.#earlier.chunks, writes: 0, increments: 0 };
    child.on("message", (message) => this.#receive(message as NodeMessage));
    child.on("error", (error) => this.#watcher.onFailure(this, error));
    child.on("exit", (code, signal) => {
      if (this.#child === child) this.#ended(`its process ended with ${signal ?? `status ${code}`}`);
    });
    this.#started = await this.call("start", this.config);
    return this.#started;
  }

  /** Has the node do something. */
  call<Method extends keyof NodeApi>(
    method: Method,
    ...args: Parameters<NodeApi[Method]>
  ): ReturnType<NodeApi[Method]> {
    const id = ++this.#calls;
    const message: CallMessage = { kind: "call", id, method, args };
    const answered = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child?.send(message, (error) => {
        // A process that is gone reports its own end.
        if (error !== null && this.#child?.connected === true) reject(error);
      });
    });
    return answered as ReturnType<NodeApi[Method]>;
  }

  /** Kills the process, as a crash would: nothing in it gets to run again. Resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#forget();
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** Closes the node; its process then ends by itself. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_PATIENCE_MS);
    const gone = once(child, "exit");
    await this.call("stop");
    this.#forget();
    const [, signal] = (await gone) as [number | null, NodeJS.Signals | null];
    clearTimeout(timer);
    if (signal !== null) throw new Error(`${this.name} did not end within ${STOP_PATIENCE_MS / 1000} s of its stop`);
  }

  #receive(message: NodeMessage): void {
    switch (message.kind) {
      case "result":
        this.#take(message.id)?.resolve(message.result);
        break;
      case "progress":
        this.#progress = message.progress;
        this.#watcher.onProgress(this);
        break;
      case "notice":
        this.#watcher.onNotice(this, message.code, message.message);
        break;
      case "failed": {
        const error = new Error(`${this.name} failed: ${message.message}`);
        if (message.id === undefined) this.#watcher.onFailure(this, error);
        else this.#take(message.id)?.reject(error);
      }
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #ended(how: string): void {
    const error = new Error(`${this.name} failed: ${how}`);
    const waiting = [...this.#waiting.values()];
    this.#forget();
    for (const { reject } of waiting) reject(error);
    this.#watcher.onFailure(this, error);
  }

  /** From here on the process may end. What it was asked stays unanswered. */
  #forget(): ChildProcess | undefined {
    const child = this.#child;
    child?.removeAllListeners("message");
    this.#child = undefined;
    this.#started = undefined;
    this.#waiting.clear();
    return child;
  }
}
