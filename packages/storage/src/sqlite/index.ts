import { access, constants } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { dirname } from "node:path";
import { lockLocation, prepareDirectory, type SecretFiles, secretFiles } from "#platform";
import {
  type Capabilities,
  type Entry,
  hasCode,
  type LogEntry,
  type LogRange,
  type Op,
  type ScanRange,
  StorageBackend,
} from "../backend.ts";
import { checkOptions } from "../check-options.ts";
import { CommitQueue } from "../commit-queue.ts";
import { explainDiskError } from "../disk-error.ts";
import { StorageError } from "../error.ts";
import type { PackedOp } from "./engine.ts";
import { SqliteThread } from "./thread.ts";

/**
 * A durable backend where the runtime has `node:sqlite` (Node.js 22.13 and later): one SQLite file in the directory
 * `location`. The engine runs on a thread of its own. When that crashes, what is under way fails with `IO`, and the next
 * operation starts another.
 *
 * Throws `INVALID_OPTIONS`. `open` fails with `LOCKED` when another process has the file open, and with `IO` where
 * there is no `node:sqlite`.
 */
export function sqliteStorage(location: string, options: object = {}): StorageBackend {
  if (typeof location !== "string" || location === "") {
    throw new StorageError("INVALID_OPTIONS", "sqliteStorage needs a directory");
  }
  checkOptions("sqliteStorage", options, []);
  return new SqliteBackend(location);
}

interface SqliteWrite {
  readonly ops: readonly Op[];
  readonly sync: boolean;
}

class SqliteBackend extends StorageBackend {
  override readonly name: string;
  override readonly capabilities: Capabilities = {
    durable: true,
    sync: true,
    shared: false,
    snapshotScan: false,
    cheapKeyScan: true,
    lock: "os",
    atomicOpsMax: Number.MAX_SAFE_INTEGER,
    valueBytesMax: 1_000_000_000,
  };
  readonly #location: string;
  readonly #files: SecretFiles | undefined;
  readonly #writes = new CommitQueue<SqliteWrite>((writes) => this.#commit(writes));
  #unlock: (() => void) | undefined;
  #thread: SqliteThread | undefined;
  #starting: Promise<SqliteThread> | undefined;

  constructor(location: string) {
    super();
    this.name = `sqlite:${location}`;
    this.#location = location;
    this.#files = secretFiles(location);
  }

  protected override async doOpen(): Promise<void> {
    if (!isBuiltin("node:sqlite")) {
      const advice = "it needs Node.js 22.13 or later";
      throw new StorageError("IO", `${this.name}: this runtime has no node:sqlite: ${advice}`);
    }
    const path = await prepareDirectory(this.#location, "data.sqlite");
    const unlock = await lockLocation(this.#location);
    try {
      await checkWritable(path);
      await this.#start();
    } catch (error) {
      unlock?.();
      throw error;
    }
    this.#unlock = unlock;
  }

  async #start(): Promise<SqliteThread> {
    this.#thread = await SqliteThread.start(await prepareDirectory(this.#location, "data.sqlite"));
    return this.#thread;
  }

  /** The thread of the database; another one when it has crashed. */
  async #live(): Promise<SqliteThread> {
    if (this.#thread !== undefined && !this.#thread.hasEnded) return this.#thread;
    this.#starting ??= this.#start().finally(() => (this.#starting = undefined));
    return await this.#starting;
  }

  protected override async doClose(): Promise<void> {
    try {
      const thread = await this.#live();
      await thread.call("write", [], new Uint8Array(0), true);
      await thread.call("close");
    } finally {
      await this.#thread?.terminate();
      this.#thread = undefined;
      this.#unlock?.();
      this.#unlock = undefined;
    }
  }

  protected override async doWrite(ops: readonly Op[], sync: boolean): Promise<void> {
    await this.#writes.add({ ops, sync });
  }

  protected override async doSync(): Promise<void> {
    await this.#writes.add({ ops: [], sync: true });
  }

  /** Writes that came while another was under way go together, as one transaction. */
  async #commit(writes: readonly SqliteWrite[]): Promise<readonly unknown[]> {
    const ops = writes.flatMap((write) => write.ops);
    const sync = writes.some((write) => write.sync);
    const thread = await this.#live();
    await thread.call("write", ops.map(packed), valuesOf(ops), sync);
    return [];
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return await (await this.#live()).call("getMany", keys);
  }

  protected override async *doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    let { after, limit } = range;
    while (limit > 0) {
      const page = await (await this.#live()).call("scanPage", { ...range, after, limit });
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      limit -= page.length;
      after = last.key;
    }
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    for (let next = from; ;) {
      const page = await (await this.#live()).call("logPage", log, next);
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      next = last.seq + 1;
    }
  }

  protected override async *doListLogs(prefix: string): AsyncGenerator<readonly LogRange[]> {
    for (let after = ""; ;) {
      const page = await (await this.#live()).call("logsPage", prefix, after);
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      after = last.log;
    }
  }

  protected override async doReadSecret(name: string): Promise<Uint8Array | undefined> {
    return await this.#files?.read(name);
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    await this.#files?.write(name, bytes);
  }

  protected override explain(cause: unknown): StorageError | undefined {
    return explainDiskError(this.name, cause);
  }
}

/** SQLite says of what may not be written only that the disk failed. */
async function checkWritable(path: string): Promise<void> {
  await access(dirname(path), constants.W_OK);
  // Not by opening it: closing a second descriptor would drop SQLite's locks.
  await access(path, constants.W_OK).catch((error: unknown) => {
    if (!hasCode(error, "ENOENT")) throw error;
  });
}

function packed(op: Op): PackedOp {
  if (op.op === "put") return { op: "put", key: op.key, bytes: op.value.length };
  if (op.op === "append") return { op: "append", log: op.log, seq: op.seq, bytes: op.value.length };
  return op;
}

/** All values in one piece: each alone would take the whole buffer with it of which it may be a small part. */
function valuesOf(ops: readonly Op[]): Uint8Array {
  const values = ops.map((op) => ("value" in op ? op.value : undefined));
  const joined = new Uint8Array(values.reduce((sum, value) => sum + (value?.length ?? 0), 0));
  let at = 0;
  for (const value of values) {
    if (value === undefined) continue;
    joined.set(value, at);
    at += value.length;
  }
  return joined;
}
