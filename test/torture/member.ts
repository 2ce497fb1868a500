import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { NodeStates } from "./checker.ts";
import type { Order, ProgramOptions, Told } from "./program.ts";

const programFile = fileURLToPath(new URL("program.js", import.meta.url));
const ANSWER_MS_MAX = 120_000;

/** A node's place in the cluster, and the process that runs there now, if any. */
export class Member {
  readonly name: string;
  readonly settings: Omit<ProgramOptions, "name" | "chapter" | "ledger">;
  /** What its processes reported that they should not have. */
  readonly failures: string[] = [];
  readonly notices: Map<string, number> = new Map();
  starts = 0;
  /** Writes of the process that runs now. */
  writes = 0;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #isExpectedToEnd = false;
  readonly #waiting: { readonly told: Told["told"]; readonly resolve: (message: Told) => void }[] = [];

  constructor(name: string, settings: Omit<ProgramOptions, "name" | "chapter" | "ledger">) {
    this.name = name;
    this.settings = settings;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Starts a process; it writes at once. */
  start(chapter: number, ledgers: string): void {
    const name = `${this.name}.${++this.starts}`;
    const options: ProgramOptions = { ...this.settings, name, chapter, ledger: `${ledgers}/${name}` };
    const child = fork(programFile, [JSON.stringify(options)], {
      execArgv: [],
      // What a terminal sends to all must not reach it: it ends when the cluster does.
      detached: true,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    this.writes = 0;
    this.#child = child;
    this.#isExpectedToEnd = false;
    child.on("message", (message) => this.#take(message as Told));
    this.#exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        if (this.#child === child) this.#child = undefined;
        if (!this.#isExpectedToEnd)
          this.failures.push(`${name} ended by itself with ${signal ?? code}: ${stderr.slice(0, 2000)}`);
        resolve();
      });
    });
  }

  #take(message: Told): void {
    if (message.told === "writes") this.writes = message.count;
    else if (message.told === "notice") this.notices.set(message.code, (this.notices.get(message.code) ?? 0) + 1);
    else if (message.told === "failed") this.failures.push(`${this.name}.${this.starts}: ${message.message}`);
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting.told === message.told) waiting.resolve(message);
      else this.#waiting.push(waiting);
    }
  }

  tell(order: Order): void {
    this.#child?.send(order, () => undefined);
  }

  async ask(order: Order, answer: Told["told"]): Promise<Told> {
    const told = new Promise<Told>((resolve) => this.#waiting.push({ told: answer, resolve }));
    this.tell(order);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.name} does not answer: ${order.order}`)), ANSWER_MS_MAX);
    });
    try {
      return await Promise.race([told, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async states(chapter: number): Promise<NodeStates> {
    const message = await this.ask({ order: "states", chapter }, "states");
    return new Map((message as Told & { told: "states" }).states) as NodeStates;
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  /** With SIGKILL, or in good order. */
  async end(how: "kill" | "close"): Promise<void> {
    this.#isExpectedToEnd = true;
    if (how === "kill") this.#child?.kill("SIGKILL");
    else this.tell({ order: "close" });
    await this.#exited;
  }
}
