import { open as openLmdb, type RootDatabase } from "lmdb";
import { prepareDirectory, type SecretFiles, secretFiles } from "#platform";
import {
  type Capabilities,
  type Entry,
  hasCode,
  type LogEntry,
  type LogRange,
  NO_VALUE,
  type Op,
  PAGE_ENTRIES_MAX,
  type ScanRange,
  StorageBackend,
} from "../backend.ts";
import { DirectoryLock } from "../directory-lock.ts";
import { StorageError } from "../error.ts";
import {
  groupLogKeys,
  type KeyRange,
  logKey,
  logRange,
  logsRange,
  seqOf,
  VALUE_SPACE,
  valueRange,
} from "../flat-keys.ts";

export interface LmdbOptions {
  /** Bytes of address space for the file at first; it grows by itself. Default: the engine's. */
  readonly mapBytes?: number;
}

/**
 * A durable backend that opens at once and reads fastest: LMDB in the directory `location`, with the optional package
 * `lmdb`. Every commit reaches stable storage before it is acknowledged, so writes without `sync` are as slow.
 * On a full disk LMDB may end the process; nothing acknowledged is lost.
 *
 * Throws `INVALID_OPTIONS`. `open` fails with `LOCKED` when another process has the directory open.
 */
export function lmdbStorage(location: string, options: LmdbOptions = {}): StorageBackend {
  if (typeof location !== "string" || location === "") {
    throw new StorageError("INVALID_OPTIONS", "lmdbStorage needs a directory");
  }
  const { mapBytes, ...unknown } = options;
  for (const name of Object.keys(unknown)) {
    throw new StorageError("INVALID_OPTIONS", `lmdbStorage has no option ${JSON.stringify(name)}`);
  }
  if (mapBytes !== undefined && !(Number.isSafeInteger(mapBytes) && mapBytes >= 1 << 20)) {
    throw new StorageError("INVALID_OPTIONS", `mapBytes must be an integer of at least 1 MiB, not ${mapBytes}`);
  }
  return new LmdbBackend(location, mapBytes);
}

type Database = RootDatabase<Uint8Array, string>;

class LmdbBackend extends StorageBackend {
  override readonly name: string;
  override readonly capabilities: Capabilities = {
    durable: true,
    sync: true,
    shared: false,
    snapshotScan: false,
    cheapKeyScan: true,
    lock: "os",
    atomicOpsMax: Number.MAX_SAFE_INTEGER,
    valueBytesMax: 2 ** 30,
  };
  readonly #location: string;
  readonly #mapBytes: number | undefined;
  readonly #files: SecretFiles | undefined;
  readonly #lock: DirectoryLock;
  #database: Database | undefined;

  constructor(location: string, mapBytes: number | undefined) {
    super();
    this.name = `lmdb:${location}`;
    this.#location = location;
    this.#mapBytes = mapBytes;
    this.#files = secretFiles(location);
    this.#lock = new DirectoryLock(location);
  }

  protected override async doOpen(): Promise<void> {
    const path = await prepareDirectory(this.#location, "lmdb");
    await this.#lock.take();
    try {
      this.#database = openLmdb<Uint8Array, string>({
        path,
        encoding: "binary",
        compression: false,
        // With overlapping syncs a commit is acknowledged before it is on the disk.
        overlappingSync: false,
        ...(this.#mapBytes !== undefined && { mapSize: this.#mapBytes }),
      });
    } catch (error) {
      await this.#lock.release();
      throw error;
    }
  }

  protected override async doClose(): Promise<void> {
    try {
      await this.#open().close();
    } finally {
      this.#database = undefined;
      await this.#lock.release();
    }
  }

  protected override async doWrite(ops: readonly Op[]): Promise<void> {
    const database = this.#open();
    await database.transaction(() => {
      for (const op of ops) {
        // Within a transaction these take effect at once; their promises are the transaction's.
        if (op.op === "put") database.putSync(VALUE_SPACE + op.key, op.value);
        else if (op.op === "del") database.removeSync(VALUE_SPACE + op.key);
        else if (op.op === "append") database.putSync(logKey(op.log, op.seq), op.value);
        else for (let seq = op.from; seq < op.upto; seq++) database.removeSync(logKey(op.log, seq));
      }
    });
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const database = this.#open();
    return keys.map((key) => copy(database.getBinary(VALUE_SPACE + key)));
  }

  protected override async *doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    const { limit, values } = range;
    for (const page of this.#pages(valueRange(range.prefix, range.after), values, limit)) {
      yield page.map(({ key, value }) => ({ key: key.slice(1), value }));
    }
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    for (const page of this.#pages(logRange(log, from), true, Number.MAX_SAFE_INTEGER)) {
      yield page.map(({ key, value }) => ({ seq: seqOf(key), value }));
    }
  }

  protected override doListLogs(prefix: string): AsyncIterable<readonly LogRange[]> {
    return groupLogKeys(this.#keys(logsRange(prefix)));
  }

  async *#keys(range: KeyRange): AsyncGenerator<string[]> {
    for (const page of this.#pages(range, false, Number.MAX_SAFE_INTEGER)) yield page.map(({ key }) => key);
  }

  /** Each page is a range of its own: a cursor held over turns of the event loop would keep old pages from reuse. */
  *#pages(range: KeyRange, values: boolean, limit: number): Generator<Entry[]> {
    let { from: start, inclusive } = range;
    let left = limit;
    while (left > 0) {
      const size = Math.min(left, PAGE_ENTRIES_MAX);
      const options = { start, end: range.upto, limit: inclusive ? size : size + 1 };
      const database = this.#open();
      const found: Entry[] = values
        ? [...database.getRange(options)].map(({ key, value }) => ({ key, value: copy(value) ?? NO_VALUE }))
        : [...database.getKeys(options)].map((key) => ({ key, value: NO_VALUE }));
      const page = (!inclusive && found[0]?.key === start ? found.slice(1) : found).slice(0, size);
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      left -= page.length;
      start = last.key;
      inclusive = false;
    }
  }

  /** Commits are durable one by one; what is under way is awaited. */
  protected override async doSync(): Promise<void> {
    await this.#open().transaction(() => undefined);
    await this.#open().flushed;
  }

  protected override async doReadSecret(name: string): Promise<Uint8Array | undefined> {
    return await this.#files?.read(name);
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    await this.#files?.write(name, bytes);
  }

  #open(): Database {
    if (this.#database === undefined) throw new StorageError("NOT_OPEN", `${this.name} is not open`);
    return this.#database;
  }

  protected override explain(cause: unknown): StorageError | undefined {
    if (hasCode(cause, "LEVEL_LOCKED")) {
      const advice = "stop the other process, or use another directory";
      return new StorageError("LOCKED", `${this.name} is in use by another process: ${advice}`, { cause });
    }
    if (cause instanceof Error && /No space left|MDB_MAP_FULL/.test(cause.message)) {
      const advice = "free space and start again; nothing acknowledged is lost";
      return new StorageError("FULL", `${this.name}: the disk is full: ${advice}`, { cause });
    }
    return undefined;
  }
}

/** The engine reuses its buffers. */
function copy(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes && new Uint8Array(bytes);
}
