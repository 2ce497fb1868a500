import {
  type Capabilities,
  type Entry,
  isStorageBackend,
  type LogEntry,
  type LogRange,
  type Op,
  type RottenFile,
  type ScanRange,
  StorageBackend,
} from "./backend.ts";
import { checkFunctions, checkOptions } from "./check-options.ts";
import { StorageError } from "./error.ts";
import { inTurns } from "./in-turns.ts";
import { MemoryContents } from "./memory-contents.ts";

export interface WriteBehindOptions {
  /** How long a write stays in memory at most before it is saved; "never" leaves it to `flush`, `sync` and `close`. */
  readonly autoSaveMs?: number | "never";
  /** Told when a periodic save fails. What was to be saved is kept and tried again. Must not throw. */
  readonly onError?: (error: Error) => void;
  /** Calls `task` after `ms` unless cancelled, and keeps no process alive. Default: an unreferenced `setTimeout`. */
  readonly schedule?: (task: () => void, ms: number) => () => void;
}

/** How long a write stays in memory by default. */
export const AUTO_SAVE_MS = 5000;

/**
 * Keeps all of `backend` in memory: reads never touch the engine, and writes reach it together, at the next save.
 * Many updates of one key between two saves are one write. A write with `sync`, and `sync()`, save at once.
 *
 * A crash loses what was not saved, and so does a `close` that cannot save; what was saved is a whole state, never a
 * mixture.
 * Throws `INVALID_OPTIONS`, or `INVALID_ADAPTER` for what is no backend.
 */
export function writeBehind(backend: StorageBackend, options: WriteBehindOptions = {}): WriteBehindBackend {
  if (!isStorageBackend(backend)) throw new StorageError("INVALID_ADAPTER", "writeBehind needs a storage backend");
  checkOptions("writeBehind", options, ["autoSaveMs", "onError", "schedule"]);
  const { autoSaveMs = AUTO_SAVE_MS, onError, schedule } = options;
  checkFunctions({ onError, schedule });
  checkAutoSave(autoSaveMs);
  return new WriteBehindBackend(backend, { ...options, autoSaveMs });
}

/** Throws `INVALID_OPTIONS` for what is no interval. */
export function checkAutoSave(autoSaveMs: number | "never"): void {
  if (autoSaveMs === "never") return;
  if (Number.isSafeInteger(autoSaveMs) && autoSaveMs >= 1 && autoSaveMs < 2 ** 31) return;
  throw new StorageError("INVALID_OPTIONS", `autoSaveMs is "never" or 1 to 2^31 - 1 milliseconds, not ${autoSaveMs}`);
}

/** Made by {@link writeBehind}. */
export class WriteBehindBackend extends StorageBackend {
  override readonly name: string;
  override readonly capabilities: Capabilities;
  readonly #backend: StorageBackend;
  readonly #options: WriteBehindOptions & { readonly autoSaveMs: number | "never" };
  #contents = new MemoryContents();
  /** The last change of each key since the last save. */
  #keys = new Map<string, Op>();
  #logs: Op[] = [];
  #saving: Promise<void> = Promise.resolve();
  #savingOps = 0;
  #cancel: (() => void) | undefined;

  constructor(backend: StorageBackend, options: WriteBehindOptions & { readonly autoSaveMs: number | "never" }) {
    super();
    this.name = backend.name;
    this.#backend = backend;
    this.#options = options;
    const { capabilities } = backend;
    this.capabilities = { ...capabilities, snapshotScan: false, cheapKeyScan: true };
  }

  override get rottenFiles(): readonly RottenFile[] {
    return this.#backend.rottenFiles;
  }

  /** Writes what is not saved yet to the engine; nothing happens when all is. Safe when not open. */
  async flush(): Promise<void> {
    if (this.status === "open") await this.#save(false);
  }

  protected override async doOpen(): Promise<void> {
    await this.#backend.open();
    try {
      this.#contents = await contentsOf(this.#backend);
    } catch (error) {
      await this.#backend.close();
      throw error;
    }
    // What a close could not save is lost: others may have written to the backend since.
    this.#keys = new Map();
    this.#logs = [];
  }

  protected override async doClose(): Promise<void> {
    try {
      await this.#save(true);
    } finally {
      this.#cancel?.();
      this.#cancel = undefined;
      await this.#backend.close();
    }
  }

  protected override async doCheck(signal: AbortSignal | undefined): Promise<void> {
    await this.#backend.checkEngine({ ...(signal && { signal }) });
  }

  protected override async doRepair(): Promise<boolean> {
    return await this.#backend.repairEngine();
  }

  protected override async doWrite(ops: readonly Op[], sync: boolean): Promise<void> {
    while (this.#unsaved() + ops.length > this.capabilities.atomicOpsMax) await this.#save(false);
    for (const op of ops) {
      const copy = "value" in op ? { ...op, value: op.value.slice() } : op;
      this.#contents.apply(copy);
      if (copy.op === "put" || copy.op === "del") this.#keys.set(copy.key, copy);
      else this.#logs.push(copy);
    }
    if (sync) await this.#save(true);
    else this.#schedule();
  }

  /** Operations that the next save has to hold, should the one under way fail. */
  #unsaved(): number {
    return this.#savingOps + this.#keys.size + this.#logs.length;
  }

  protected override async doSync(): Promise<void> {
    await this.#save(true);
  }

  #schedule(): void {
    const { autoSaveMs, schedule = unreferenced } = this.#options;
    if (autoSaveMs === "never" || this.#cancel !== undefined || this.status !== "open") return;
    this.#cancel = schedule(() => {
      this.#cancel = undefined;
      this.#save(false).catch((error: unknown) => {
        this.#options.onError?.(error instanceof Error ? error : new Error(String(error)));
        this.#schedule();
      });
    }, autoSaveMs);
  }

  /** One save at a time, in order: a later one holds later values of the same keys. */
  async #save(sync: boolean): Promise<void> {
    const save = this.#saving.then(async () => {
      const [keys, logs] = [this.#keys, this.#logs];
      this.#keys = new Map();
      this.#logs = [];
      this.#savingOps = keys.size + logs.length;
      try {
        await this.#backend.write([...keys.values(), ...logs], { sync });
      } catch (error) {
        this.#keys = new Map([...keys, ...this.#keys]);
        this.#logs = [...logs, ...this.#logs];
        throw error;
      } finally {
        this.#savingOps = 0;
      }
    });
    this.#saving = save.catch(() => undefined);
    await save;
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return keys.map((key) => this.#contents.get(key));
  }

  protected override doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    return inTurns(this.#contents.scan(range));
  }

  protected override doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    return inTurns(this.#contents.readLog(log, from));
  }

  protected override doListLogs(prefix: string): AsyncGenerator<readonly LogRange[]> {
    return inTurns(this.#contents.listLogs(prefix));
  }

  protected override async doReadSecret(name: string): Promise<Uint8Array | undefined> {
    return await this.#backend.readSecret(name);
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    await this.#backend.writeSecret(name, bytes);
  }
}

async function contentsOf(backend: StorageBackend): Promise<MemoryContents> {
  const contents = new MemoryContents();
  for await (const page of backend.scan()) {
    for (const { key, value } of page) contents.apply({ op: "put", key, value });
  }
  for await (const page of backend.listLogs()) {
    for (const { log } of page) {
      for await (const entries of backend.readLog(log, 0)) {
        for (const { seq, value } of entries) contents.apply({ op: "append", log, seq, value });
      }
    }
  }
  return contents;
}

function unreferenced(task: () => void, ms: number): () => void {
  const timer = setTimeout(task, ms);
  // Browsers return a number, and have no process to keep alive.
  if (typeof timer === "object") timer.unref();
  return () => clearTimeout(timer);
}
