import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A command that takes longer has lost its way. */
const ANSWER_MS_MAX = 60_000;

/** Another process of a measurement; what it can do stands in the file that it runs, `worker-main.ts` if not another. */
export class Worker {
  readonly #child: ChildProcess;

  constructor(file: URL = new URL("worker-main.js", import.meta.url)) {
    this.#child = fork(fileURLToPath(file), { execArgv: ["--expose-gc"] });
  }

  /** One command at a time; the answer is what its function returns. */
  async ask<Answer>(command: string, parameters: object = {}): Promise<Answer> {
    this.#child.send({ command, parameters });
    const ended = new AbortController();
    const timer = setTimeout(() => this.#child.kill(), ANSWER_MS_MAX).unref();
    const exited = once(this.#child, "exit", { signal: ended.signal }).then(([status, signal]) => {
      throw new Error(`the other process ended with ${String(signal ?? status)} at ${command}`);
    });
    const answered = once(this.#child, "message", { signal: ended.signal });
    const [answer] = (await Promise.race([answered, exited])) as [{ result?: Answer; error?: string }];
    clearTimeout(timer);
    exited.catch(() => undefined);
    ended.abort();
    if (answer.error !== undefined) throw new Error(`the other process failed: ${answer.error}`);
    return answer.result as Answer;
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}
