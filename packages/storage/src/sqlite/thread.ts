import { Worker } from "node:worker_threads";
import type { SqliteEngine } from "./engine.ts";

type Methods = Pick<SqliteEngine, "write" | "getMany" | "scanPage" | "logPage" | "logsPage" | "close"> & {
  open(): void;
};

export interface Request {
  readonly id: number;
  readonly method: keyof Methods;
  readonly args: unknown[];
}

export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: { readonly message: string; readonly code: unknown } };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** The compiler leaves URLs alone, so this is named as the file that runs. */
const WORKER = new URL(import.meta.url.endsWith(".ts") ? "worker.ts" : "worker.js", import.meta.url);

/** A SQLite database on a thread of its own. The process ends without waiting for it, unless a call is under way. */
export class SqliteThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #end: Error | undefined;

  /** Starts a thread and opens the database on it. Rejects with the engine's error. */
  static async start(path: string): Promise<SqliteThread> {
    const thread = new SqliteThread(path);
    try {
      await thread.call("open");
    } catch (error) {
      await thread.terminate();
      throw error;
    }
    return thread;
  }

  private constructor(path: string) {
    // What the process was started with, such as `--input-type`, is not for a file.
    this.#worker = new Worker(WORKER, { name: "coppice-sqlite", workerData: { path }, execArgv: [] });
    this.#worker.unref();
    this.#worker.on("message", (answer: Answer) => this.#settle(answer));
    this.#worker.on("error", (error: unknown) => this.#fail(new Error("the SQLite thread crashed", { cause: error })));
    this.#worker.on("exit", () => this.#fail(new Error("the SQLite thread has ended")));
  }

  /** Whether it crashed or was terminated: every call fails. */
  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  async call<Name extends keyof Methods>(
    method: Name,
    ...args: Parameters<Methods[Name]>
  ): Promise<ReturnType<Methods[Name]>> {
    if (this.#end !== undefined) throw this.#end;
    const id = this.#calls++;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#worker.ref();
    // Bytes in an argument are made for the call, so they move instead of being copied.
    const moved = args.flatMap((arg) => (arg instanceof Uint8Array ? [arg.buffer as ArrayBuffer] : []));
    this.#worker.postMessage({ id, method, args } satisfies Request, moved);
    return (await answer) as ReturnType<Methods[Name]>;
  }

  /** Ends the thread, in the middle of what it does; a database that is open closes without harm. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if ("value" in answer) return waiting?.resolve(answer.value);
    const { message, code } = answer.failure;
    return waiting?.reject(Object.assign(new Error(message), { code }));
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }
}
