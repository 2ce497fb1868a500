import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { GroupId, GroupStatus, NodeOptions, Notice, PeerStatus, RecoveryReport } from "coppice";
import { onTestFinished } from "vitest";

/** The types that a node process knows: see node-worker.mjs. */
export type TypeName = "counter" | "register" | "map" | "book";

/** One call on a mutator: the path of a method, such as `entries.set`, and its arguments. */
export type Operation = readonly [path: string, ...args: unknown[]];

export type StartOptions = Omit<NodeOptions, "types" | "storage" | "transport" | "onNotice" | "now"> & {
  /** The directory of a LevelDB; in memory without. */
  readonly data?: string;
  /** With it, the node has a libp2p transport. */
  readonly listen?: readonly string[];
  readonly peers?: readonly string[];
  readonly allow?: readonly string[] | "any";
  readonly types: readonly TypeName[];
};

/** What must be equal on replicas that have converged; `value` is a hash of it. */
export interface ReplicaState {
  readonly digest: string;
  readonly contentHash: string;
  readonly value: string;
}

/** An error that a node process answered with. */
export class RemoteError extends Error {
  override readonly name: string;
  readonly code: string | undefined;

  constructor(error: { name: string; code?: string; message: string; cause: string }) {
    super(error.message, { cause: error.cause });
    this.name = error.name;
    this.code = error.code;
  }
}

interface Answer {
  readonly ready?: boolean;
  readonly notice?: Notice;
  readonly call?: number;
  readonly result?: unknown;
  readonly error?: { name: string; code?: string; message: string; cause: string };
}

interface Call {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

const workerFile = fileURLToPath(new URL("node-worker.mjs", import.meta.url));

/** A node in a process of its own, which ends with the test at the latest. */
export class NodeProcess {
  /** What its node reported to `onNotice`, oldest first. */
  readonly notices: Notice[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | NodeJS.Signals | null>;
  readonly #calls = new Map<number, Call>();
  #lastCall = 0;
  #stderr = "";
  /** The node's id, once started. */
  id = "";
  addresses: readonly string[] = [];

  constructor() {
    this.#child = fork(workerFile, { execArgv: [], stdio: ["ignore", "ignore", "pipe", "ipc"] });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
    this.#child.on("message", (answer) => this.#take(answer as Answer));
    this.#exited = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => {
        for (const waiting of this.#calls.values()) {
          waiting.reject(new Error(`the process has ended with ${signal ?? code}\n${this.#stderr}`));
        }
        this.#calls.clear();
        resolve(signal ?? code);
      });
    });
    onTestFinished(() => this.kill());
  }

  #take({ notice, call, result, error }: Answer): void {
    if (notice !== undefined) this.notices.push(notice);
    if (call === undefined) return;
    const waiting = this.#calls.get(call);
    this.#calls.delete(call);
    if (error !== undefined) waiting?.reject(new RemoteError(error));
    else waiting?.resolve(result);
  }

  #call<Result>(method: string, params: object = {}): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      const call = ++this.#lastCall;
      this.#calls.set(call, { resolve: (result) => resolve(result as Result), reject });
      this.#child.send({ call, method, params }, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  async start(options: StartOptions): Promise<void> {
    const started = await this.#call<{ id: string; addresses: readonly string[] }>("start", options);
    this.id = started.id;
    this.addresses = started.addresses;
  }

  /** The address under which others dial it. */
  get address(): string {
    const [address] = this.addresses;
    if (address === undefined) throw new TypeError("this node listens nowhere");
    return address;
  }

  recover(): Promise<RecoveryReport> {
    return this.#call("recover");
  }

  open(id: GroupId, type: TypeName): Promise<void> {
    return this.#call("open", { id, type });
  }

  synced(id: GroupId, type: TypeName): Promise<void> {
    return this.#call("synced", { id, type });
  }

  /** One atomic write; resolves with its acknowledgement, to its session token. */
  mutate(id: GroupId, type: TypeName, operations: readonly Operation[], ack?: unknown): Promise<string> {
    return this.#call("mutate", { id, type, operations, ack });
  }

  /** Reads at least as new as a session token says, or as what the members of `from` know. */
  read(
    id: GroupId,
    type: TypeName,
    level: { readonly token?: string; readonly from?: number | "majority" | "all" },
  ): Promise<{ readonly value: unknown; readonly token: string }> {
    return this.#call("read", { id, type, ...level });
  }

  /** Sets `count` keys of a `map` to strings of that many bytes, each in a write of its own. */
  fill(id: GroupId, options: { prefix: string; count: number; bytes: number }): Promise<void> {
    return this.#call("fill", { id, ...options });
  }

  value(id: GroupId, type: TypeName): Promise<unknown> {
    return this.#call("value", { id, type });
  }

  state(id: GroupId, type: TypeName): Promise<ReplicaState> {
    return this.#call("state", { id, type });
  }

  groups(): Promise<readonly GroupStatus[]> {
    return this.#call("groups");
  }

  peers(): Promise<readonly PeerStatus[]> {
    return this.#call("peers");
  }

  connect(address: string): Promise<string> {
    return this.#call("connect", { address });
  }

  snapshot(): Promise<void> {
    return this.#call("snapshot");
  }

  /** From now on the process may only do what an ordinary user may. */
  dropPrivileges(): Promise<void> {
    return this.#call("dropPrivileges");
  }

  /** Ends the node and its process in good order. */
  async stop(): Promise<void> {
    await this.#call("close");
    this.#child.disconnect();
    await this.#exited;
  }

  /** Ends the process at once, with SIGKILL. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

/** Starts a process and a node in it. */
export async function startNode(options: StartOptions): Promise<NodeProcess> {
  const node = new NodeProcess();
  await node.start(options);
  return node;
}
