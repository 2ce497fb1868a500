/// <reference lib="esnext.disposable" preserve="true" />
import { StorageError, throwIfAborted } from "./error.ts";
import { Lifecycle, type Status } from "./lifecycle.ts";

/** One change of a {@link StorageBackend.write}. */
export type Op =
  | { readonly op: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly op: "del"; readonly key: string }
  /** Adds an entry to a log. The caller numbers them without holes; a log begins with its first entry. */
  | { readonly op: "append"; readonly log: string; readonly seq: number; readonly value: Uint8Array }
  /** Removes the entries `from <= seq < upto`; those that do not exist are no error, but cost as much as others. */
  | { readonly op: "truncate"; readonly log: string; readonly from: number; readonly upto: number };

/** What a backend promises. */
export interface Capabilities {
  /** Data survives the process. */
  readonly durable: boolean;
  /** `write({ sync })` and `sync()` reach stable storage: what they acknowledged survives a power cut. */
  readonly sync: boolean;
  /** Other machines can open the same data (not at the same time for writing). */
  readonly shared: boolean;
  /** A scan shows one moment; otherwise each of its pages does. */
  readonly snapshotScan: boolean;
  /** A scan without values costs much less than one with them. */
  readonly cheapKeyScan: boolean;
  /** Who keeps a second writer out: the operating system or browser, a lease that can expire, or nobody. */
  readonly lock: "os" | "lease" | "none";
  /** Most operations in one `write`. */
  readonly atomicOpsMax: number;
  /** Longest value, in bytes. */
  readonly valueBytesMax: number;
}

/** An entry of a scan; `value` is empty when the scan goes without values. */
export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
}

export interface LogEntry {
  readonly seq: number;
  readonly value: Uint8Array;
}

/** A log that has entries, with the sequence numbers of its first and last one. */
export interface LogRange {
  readonly log: string;
  readonly first: number;
  readonly last: number;
}

export interface WriteOptions {
  /** Resolve only once this write and all before it are on stable storage. Default false. */
  readonly sync?: boolean;
  /** Fires before the write starts: `ABORTED`, nothing is written. Later it has no effect. */
  readonly signal?: AbortSignal;
}

export interface ScanOptions {
  /** Only keys that start with this. Default: all. */
  readonly prefix?: string;
  /** Only keys behind this one. */
  readonly after?: string;
  /** At most so many entries in all. */
  readonly limit?: number;
  /** Whether to read the values. Default true. */
  readonly values?: boolean;
  readonly signal?: AbortSignal;
}

/** A scan as engines see it: arguments checked, defaults filled in. */
export interface ScanRange {
  readonly prefix: string;
  readonly after: string | undefined;
  readonly limit: number;
  readonly values: boolean;
}

/** A file of an engine that has rotted, and is kept beside the others: what it held may be missing. */
export interface RottenFile {
  readonly place: string;
  readonly bytes: number;
  /** Where in it the rot begins, when the last `open` found it; undefined when an earlier one did. */
  readonly rottenAt: number | undefined;
}

export type BackendStatus = Status;

/** Longest key and longest name of a log, in bytes. */
export const KEY_BYTES_MAX = 1024;
/** Most entries in a page of a scan. */
export const PAGE_ENTRIES_MAX = 1000;
/** A page of a scan ends with the entry whose value takes it to so many bytes of values. */
export const PAGE_BYTES: number = 1 << 20;

/** What no key has: looking for that costs less than matching all of a key. */
const NO_KEY_PATTERN = /[^!-~]/;
const SECRET_PATTERN = /^[a-z0-9][a-z0-9.-]{0,63}$/;
const EMPTY = new Uint8Array(0);

/**
 * Ordered keys with byte values, and logs of numbered entries. Knows nothing of groups.
 *
 * Keys and names of logs are 1 to 1024 characters of ASCII 0x21 to 0x7e and order as their bytes do; keys and logs are
 * separate. Values handed in must not change until the write is done; values handed out are the caller's.
 *
 * This class checks arguments and the lifecycle and gives every failure a code; an engine implements the protected
 * methods, which run only while it is open. It must pass `backendSuite` of `@coppice/storage/testing`.
 *
 * Errors: `NOT_OPEN` outside `open` and `close`; `FULL`; `IO` with the engine's error as its cause; `ABORTED`;
 * `TypeError` for arguments that no caller should pass.
 */
export abstract class StorageBackend implements AsyncDisposable {
  /** What this is, for messages and logs: for example `level:./data`. Never holds a credential. */
  abstract readonly name: string;
  abstract readonly capabilities: Capabilities;

  readonly #lifecycle = new Lifecycle();
  #running = 0;
  #idle: (() => void) | undefined;

  get status(): BackendStatus {
    return this.#lifecycle.status;
  }

  /** Files of the engine that have rotted, as of the last `open`; none where the engine notices itself. */
  get rottenFiles(): readonly RottenFile[] {
    return [];
  }

  /** Opens and takes the writer lock; an open backend stays open. Throws `LOCKED`. */
  async open(options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#lifecycle.open(async () => {
      throwIfAborted(options.signal);
      try {
        await this.doOpen();
      } catch (error) {
        throw this.#coded(error, "open");
      }
    });
  }

  /** Syncs, releases the lock, closes; a closed backend stays closed. Running operations are awaited. */
  async close(): Promise<void> {
    await this.#lifecycle.close(async () => {
      try {
        if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
        await this.doClose();
      } catch (error) {
        throw this.#coded(error, "close");
      } finally {
        this.#idle = undefined;
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Looks through the engine's own files, where reading them would not tell that they are damaged. Rejects with `CORRUPT`
   * when they are: reading on may find less than there is, or end the process.
   */
  async checkEngine(options: { signal?: AbortSignal } = {}): Promise<void> {
    this.#checkOpen();
    throwIfAborted(options.signal);
    await this.#run("check", () => this.doCheck(options.signal));
  }

  /**
   * Has the engine mend its own files, where `open` or a read fails with `CORRUPT`; false where it cannot. What it cannot
   * read stays apart, and what was removed lately may be there again: `repairStorage` puts that right. Throws `LOCKED`
   * unless closed.
   */
  async repairEngine(): Promise<boolean> {
    if (this.status !== "closed") throw new StorageError("LOCKED", `${this.name} is ${this.status}: close it first`);
    try {
      return await this.doRepair();
    } catch (error) {
      throw this.#coded(error, "repair");
    }
  }

  /** Applies all of `ops` in order, or none of them. */
  async write(ops: readonly Op[], options: WriteOptions = {}): Promise<void> {
    this.#checkOpen();
    for (const op of ops) this.#checkOp(op);
    if (ops.length > this.capabilities.atomicOpsMax) {
      throw new TypeError(`${ops.length} operations in one write, at most ${this.capabilities.atomicOpsMax}`);
    }
    throwIfAborted(options.signal);
    if (ops.length === 0 && options.sync !== true) return;
    await this.#run("write", () => (ops.length === 0 ? this.doSync() : this.doWrite(ops, options.sync === true)));
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    checkKey(key);
    return (await this.#run("read", () => this.doGetMany([key])))[0];
  }

  /** The values in the order of `keys`. */
  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.#checkOpen();
    for (const key of keys) checkKey(key);
    return keys.length === 0 ? [] : await this.#run("read", () => this.doGetMany(keys));
  }

  /** Pages of entries in ascending order of their keys; no page is empty. */
  scan(options: ScanOptions = {}): AsyncIterable<readonly Entry[]> {
    const { prefix = "", after, limit = Number.MAX_SAFE_INTEGER, values = true, signal } = options;
    checkPrefix(prefix);
    if (after !== undefined) checkKey(after);
    if (!Number.isSafeInteger(limit) || limit < 0) throw new TypeError(`not a limit: ${limit}`);
    return this.#pages("scan", () => this.doScan({ prefix, after, limit, values }), signal);
  }

  /** Pages of a log's entries from `from` on, ascending; entries that were lost leave a gap. No page is empty. */
  readLog(log: string, from: number, options: { signal?: AbortSignal } = {}): AsyncIterable<readonly LogEntry[]> {
    checkKey(log);
    checkSeq(from);
    return this.#pages("read a log", () => this.doReadLog(log, from), options.signal);
  }

  /** Pages of the logs that have entries, ascending by name. No page is empty. */
  listLogs(options: { prefix?: string; signal?: AbortSignal } = {}): AsyncIterable<readonly LogRange[]> {
    const { prefix = "", signal } = options;
    checkPrefix(prefix);
    return this.#pages("list logs", () => this.doListLogs(prefix), signal);
  }

  /** Resolves once everything written so far is on stable storage, as far as the backend can (`capabilities.sync`). */
  async sync(): Promise<void> {
    this.#checkOpen();
    await this.#run("sync", () => this.doSync());
  }

  /** A small secret, outside keys, scans and exports. */
  async readSecret(name: string): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    checkSecret(name);
    return await this.#run("read a secret", () => this.doReadSecret(name));
  }

  /** Replaces a secret, durably where the backend is. On a file system it is a file of mode 0600. */
  async writeSecret(name: string, bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    checkSecret(name);
    if (!(bytes instanceof Uint8Array)) throw new TypeError("a secret must be a Uint8Array");
    await this.#run("write a secret", () => this.doWriteSecret(name, bytes));
  }

  protected abstract doOpen(): Promise<void>;
  protected abstract doClose(): Promise<void>;
  protected abstract doWrite(ops: readonly Op[], sync: boolean): Promise<void>;
  protected abstract doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  protected abstract doScan(range: ScanRange): AsyncIterable<readonly Entry[]>;
  protected abstract doReadLog(log: string, from: number): AsyncIterable<readonly LogEntry[]>;
  protected abstract doListLogs(prefix: string): AsyncIterable<readonly LogRange[]>;
  protected abstract doSync(): Promise<void>;
  protected abstract doReadSecret(name: string): Promise<Uint8Array | undefined>;
  protected abstract doWriteSecret(name: string, bytes: Uint8Array): Promise<void>;

  /** For {@link checkEngine}. */
  protected async doCheck(_signal: AbortSignal | undefined): Promise<void> {}

  /** For {@link repairEngine}; runs while the backend is closed. */
  protected async doRepair(): Promise<boolean> {
    return false;
  }

  /** The coded error for an engine's error, with advice in its message; undefined leaves it to the base class. */
  protected explain(_cause: unknown): StorageError | undefined {
    return undefined;
  }

  #checkOpen(): void {
    if (this.status !== "open") throw new StorageError("NOT_OPEN", `${this.name} is not open (${this.status})`);
  }

  #checkOp(op: Op): void {
    switch (op.op) {
      case "put":
        checkKey(op.key);
        return this.#checkValue(op.value);
      case "del":
        return checkKey(op.key);
      case "append":
        checkKey(op.log);
        checkSeq(op.seq);
        return this.#checkValue(op.value);
      case "truncate":
        checkKey(op.log);
        checkSeq(op.from);
        return checkSeq(op.upto);
      default:
        throw new TypeError(`no operation of a write: ${JSON.stringify((op as { op?: unknown }).op)}`);
    }
  }

  #checkValue(value: Uint8Array): void {
    if (!(value instanceof Uint8Array)) throw new TypeError("a value must be a Uint8Array");
    if (value.length <= this.capabilities.valueBytesMax) return;
    throw new TypeError(`a value of ${value.length} bytes, at most ${this.capabilities.valueBytesMax}`);
  }

  async #run<Result>(action: string, task: () => Promise<Result>): Promise<Result> {
    this.#running++;
    try {
      return await task();
    } catch (error) {
      throw this.#coded(error, action);
    } finally {
      this.#running--;
      if (this.#running === 0) this.#idle?.();
    }
  }

  async *#pages<Page>(
    action: string,
    start: () => AsyncIterable<readonly Page[]>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<readonly Page[]> {
    this.#checkOpen();
    const pages = start()[Symbol.asyncIterator]();
    try {
      for (;;) {
        this.#checkOpen();
        throwIfAborted(signal);
        const next = await this.#run(action, () => pages.next());
        if (next.done === true) return;
        if (next.value.length > 0) yield next.value;
      }
    } finally {
      // Once closed, the engine has let go of the iterator itself.
      if (this.status === "open") await this.#run(action, async () => void (await pages.return?.()));
    }
  }

  #coded(error: unknown, action: string): Error {
    if (error instanceof StorageError || error instanceof TypeError) return error;
    const explained = this.explain(error);
    if (explained !== undefined) return explained;
    if (hasCode(error, "ENOSPC") || hasCode(error, "EDQUOT")) {
      const advice = "free space and try again; nothing written before is lost";
      return new StorageError("FULL", `${this.name}: no space left to ${action}: ${advice}`, { cause: error });
    }
    return new StorageError("IO", `${this.name}: cannot ${action}: ${reasons(error)}`, { cause: error });
  }
}

const METHODS = ["open", "close", "write", "getMany", "scan", "readLog", "listLogs", "sync"] as const;

/** Whether `value` is a backend, also one of another copy of this package. */
export function isStorageBackend(value: unknown): value is StorageBackend {
  const backend = value as Partial<StorageBackend> | null | undefined;
  return METHODS.every((name) => typeof backend?.[name] === "function");
}

/** Whether an error or one of its causes has this `code`. */
export function hasCode(error: unknown, code: string): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ("code" in cause && cause.code === code) return true;
  }
  return false;
}

/** The messages of an error and its causes: the engine's reason is mostly the last one. */
function reasons(error: unknown): string {
  const messages: string[] = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) messages.push(cause.message);
  return messages.length === 0 ? String(error) : messages.join(": ");
}

/** A value of no bytes, for entries of scans without values. */
export const NO_VALUE: Uint8Array = EMPTY;

/** Whether a backend can have such a key, or a log of that name. */
export function isKey(key: string): boolean {
  return typeof key === "string" && key.length <= KEY_BYTES_MAX && key !== "" && !NO_KEY_PATTERN.test(key);
}

function checkKey(key: string): void {
  if (isKey(key)) return;
  throw new TypeError(`not a key (1 to ${KEY_BYTES_MAX} characters of ASCII 0x21 to 0x7e): ${JSON.stringify(key)}`);
}

function checkPrefix(prefix: string): void {
  if (typeof prefix === "string" && !NO_KEY_PATTERN.test(prefix)) return;
  throw new TypeError(`not the start of a key or of a log's name: ${JSON.stringify(prefix)}`);
}

function checkSeq(seq: number): void {
  if (!Number.isSafeInteger(seq) || seq < 0) throw new TypeError(`not a sequence number: ${seq}`);
}

function checkSecret(name: string): void {
  if (typeof name !== "string" || !SECRET_PATTERN.test(name))
    throw new TypeError(`not the name of a secret: ${JSON.stringify(name)}`);
}
