import { join } from "node:path";
import { open as openLmdb, type RangeOptions, type RootDatabase } from "lmdb";
import { prepareDirectory, type SecretFiles, secretFiles } from "#platform";
import {
  type Capabilities,
  type Entry,
  type LogEntry,
  type LogRange,
  NO_VALUE,
  type Op,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  type ScanRange,
  StorageBackend,
} from "../backend.ts";
import { checkOptions } from "../check-options.ts";
import { CommitQueue } from "../commit-queue.ts";
import { DirectoryLock } from "../directory-lock.ts";
import { explainDiskError } from "../disk-error.ts";
import { StorageError } from "../error.ts";
import { groupLogKeys, type KeyRange, logEntry, logKey, logRange, logsRange, valueRange } from "../flat-keys.ts";
import { inTurns } from "../in-turns.ts";
import { makePrivateDirectory } from "../private-file.ts";
import { checkDataFile } from "./data-file.ts";
import { checkPages } from "./page-check.ts";
import { type LmdbSize, pagesNeeded } from "./pages-needed.ts";
import { ReservedFile } from "./reserved-file.ts";

export interface LmdbOptions {
  /** Bytes of address space for the file at first; it grows by itself. Default: the engine's. */
  readonly mapBytes?: number;
}

/**
 * A durable backend that opens at once and reads fastest: LMDB in the directory `location`, with the optional package
 * `lmdb`. Every commit reaches stable storage before it is acknowledged, so writes without `sync` are as slow; those
 * that come together are one commit. The space for a commit is taken before the engine writes, because the engine does
 * not survive a full disk.
 *
 * Throws `INVALID_OPTIONS`. `open` fails with `LOCKED` when another process has the directory open.
 */
export function lmdbStorage(location: string, options: LmdbOptions = {}): StorageBackend {
  if (typeof location !== "string" || location === "") {
    throw new StorageError("INVALID_OPTIONS", "lmdbStorage needs a directory");
  }
  checkOptions("lmdbStorage", options, ["mapBytes"]);
  const { mapBytes } = options;
  if (mapBytes !== undefined && !(Number.isSafeInteger(mapBytes) && mapBytes >= 1 << 20)) {
    throw new StorageError("INVALID_OPTIONS", `mapBytes must be an integer of at least 1 MiB, not ${mapBytes}`);
  }
  return new LmdbBackend(location, mapBytes);
}

type Database = RootDatabase<Uint8Array, string>;

/** Bytes of the engine's table of readers: it maps the file, and a page of it without space would end the process. */
const READERS_BYTES = 12 << 10;

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
  #space: ReservedFile | undefined;
  readonly #writes = new CommitQueue<readonly Op[]>((writes) => this.#commit(writes));

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
      await makePrivateDirectory(path);
      await using readers = await ReservedFile.open(join(path, "lock.mdb"));
      await readers.reserve(READERS_BYTES);
      this.#space = await ReservedFile.open(join(path, "data.mdb"));
      await checkDataFile(this.#space.handle, this.name);
      this.#database = openLmdb<Uint8Array, string>({
        path,
        encoding: "binary",
        compression: false,
        // With overlapping syncs a commit is acknowledged before it is on the disk.
        overlappingSync: false,
        // Its batches have promises that nobody can reach, and that reject when a commit fails.
        eventTurnBatching: false,
        ...(this.#mapBytes !== undefined && { mapSize: this.#mapBytes }),
      });
    } catch (error) {
      await this.#release();
      throw error;
    }
  }

  protected override async doClose(): Promise<void> {
    await this.#release();
  }

  async #release(): Promise<void> {
    const [database, space] = [this.#database, this.#space];
    this.#database = undefined;
    this.#space = undefined;
    try {
      await database?.close();
    } finally {
      await space?.close();
      await this.#lock.release();
    }
  }

  protected override async doCheck(signal: AbortSignal | undefined): Promise<void> {
    if (this.#space === undefined) return;
    // What a transaction sees is not written over while it lasts.
    const transaction = this.#open().useReadTransaction();
    try {
      await checkPages(this.#space.handle, this.name, signal);
    } finally {
      transaction.done();
    }
  }

  protected override async doWrite(ops: readonly Op[]): Promise<void> {
    await this.#writes.add(ops);
  }

  /** Writes that came while another was under way go together, as one transaction on the engine's own thread. */
  async #commit(writes: readonly (readonly Op[])[]): Promise<readonly unknown[]> {
    const ops = writes.flat();
    if (ops.length === 0) return [];
    const database = this.#open();
    const size = database.getStats() as LmdbSize;
    await this.#space?.reserve((size.lastPageNumber + 1 + pagesNeeded(ops, size)) * size.pageSize);
    const commit = database.batch(() => {
      // The transaction's promise stands for all of these.
      for (const op of ops) for (const change of apply(database, op)) change.catch(() => undefined);
    });
    try {
      await commit;
    } catch (error) {
      throw await reasonOf(error);
    }
    return [];
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const database = this.#open();
    return keys.map((key) => copy(database.getBinary(key)));
  }

  protected override async *doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    const { limit, values } = range;
    yield* inTurns(this.#pages(valueRange(range.prefix, range.after), values, limit));
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    for await (const page of inTurns(this.#pages(logRange(log, from), true, Number.MAX_SAFE_INTEGER))) {
      yield page.flatMap(({ key, value }) => logEntry(log, key, value));
    }
  }

  protected override doListLogs(prefix: string): AsyncIterable<readonly LogRange[]> {
    return groupLogKeys(this.#keys(logsRange(prefix)));
  }

  async *#keys(range: KeyRange): AsyncGenerator<string[]> {
    for await (const page of inTurns(this.#pages(range, false, Number.MAX_SAFE_INTEGER))) {
      yield page.map(({ key }) => key);
    }
  }

  /** Each page is a range of its own: a cursor held over turns of the event loop would keep old pages from reuse. */
  *#pages(range: KeyRange, values: boolean, limit: number): Generator<Entry[]> {
    let { from: start, inclusive } = range;
    let left = limit;
    while (left > 0) {
      const options = {
        start,
        exclusiveStart: !inclusive,
        end: range.upto,
        limit: Math.min(left, PAGE_ENTRIES_MAX),
      };
      const page = [...(values ? this.#entries(options) : this.#open().getKeys(options).map(keyOnly))];
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      left -= page.length;
      start = last.key;
      inclusive = false;
    }
  }

  *#entries(options: RangeOptions): Generator<Entry> {
    let bytes = 0;
    for (const { key, value } of this.#open().getRange(options)) {
      yield { key, value: copy(value) ?? NO_VALUE };
      bytes += value.length;
      if (bytes >= PAGE_BYTES) return;
    }
  }

  /** Commits are durable one by one; what is under way is awaited. */
  protected override async doSync(): Promise<void> {
    await this.#writes.add([]);
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
    return explainDiskError(this.name, cause);
  }
}

function* apply(database: Database, op: Op): Generator<Promise<boolean>> {
  if (op.op === "put") yield database.put(op.key, op.value);
  else if (op.op === "del") yield database.remove(op.key);
  else if (op.op === "append") yield database.put(logKey(op.log, op.seq), op.value);
  else for (let seq = op.from; seq < op.upto; seq++) yield database.remove(logKey(op.log, seq));
}

/** A failed commit rejects with a general error, which holds a promise that rejects with the reason. */
async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  return commitError === undefined ? error : await commitError.catch((reason: unknown) => reason);
}

function keyOnly(key: string): Entry {
  return { key, value: NO_VALUE };
}

/** The engine reuses its buffers. */
function copy(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes && new Uint8Array(bytes);
}
