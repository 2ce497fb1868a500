import { canLock, lockLocation, prepareDirectory, type SecretFiles, secretFiles } from "#platform";
import {
  type Capabilities,
  type Entry,
  hasCode,
  type LogEntry,
  type LogRange,
  NO_VALUE,
  type Op,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  type ScanRange,
  StorageBackend,
} from "../backend.ts";
import { CommitQueue } from "../commit-queue.ts";
import { explainDiskError } from "../disk-error.ts";
import { StorageError } from "../error.ts";
import {
  groupLogKeys,
  type KeyRange,
  logKey,
  logRange,
  logsRange,
  MARKER_KEY,
  MARKER_VALUE,
  SECRET_SPACE,
  seqOf,
  VALUE_SPACE,
  valueRange,
} from "../flat-keys.ts";
import { type LevelBatch, LevelDatabase } from "./level-database.ts";

export interface LevelOptions {
  /** Bytes collected in memory before LevelDB writes a sorted table. More means fewer stalls. Default 32 MiB. */
  readonly writeBufferBytes?: number;
  /** Bytes of LevelDB's cache of uncompressed blocks. Default 8 MiB. */
  readonly cacheBytes?: number;
}

/**
 * The default durable backend: LevelDB in the directory `location` (`db/` for the engine, `secrets/` for secrets), or
 * IndexedDB under that name in a browser, where `sync` reaches no further than the browser takes it.
 *
 * Throws `INVALID_OPTIONS`. `open` fails with `LOCKED` when another process has the directory open.
 */
export function levelStorage(location: string, options: LevelOptions = {}): StorageBackend {
  if (typeof location !== "string" || location === "") {
    throw new StorageError("INVALID_OPTIONS", "levelStorage needs a directory");
  }
  const { writeBufferBytes = 32 << 20, cacheBytes = 8 << 20, ...unknown } = options;
  for (const name of Object.keys(unknown)) {
    throw new StorageError("INVALID_OPTIONS", `levelStorage has no option ${JSON.stringify(name)}`);
  }
  checkBytes("writeBufferBytes", writeBufferBytes);
  checkBytes("cacheBytes", cacheBytes);
  return new LevelBackend(location, { writeBufferBytes, cacheBytes });
}

function checkBytes(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 64 << 10 && value <= 1 << 30) return;
  throw new StorageError("INVALID_OPTIONS", `${name} must be an integer from 64 KiB to 1 GiB, not ${value}`);
}

class LevelBackend extends StorageBackend {
  override readonly name: string;
  override readonly capabilities: Capabilities;
  readonly #location: string;
  readonly #options: Required<LevelOptions>;
  readonly #files: SecretFiles | undefined;
  #database: LevelDatabase | undefined;
  #unlock: (() => void) | undefined;
  readonly #writes = new CommitQueue<LevelWrite>((writes) => this.#write(writes));

  constructor(location: string, options: Required<LevelOptions>) {
    super();
    this.name = `level:${location}`;
    this.#location = location;
    this.#options = options;
    this.#files = secretFiles(location);
    const native = this.#files !== undefined;
    this.capabilities = {
      durable: true,
      sync: native,
      shared: false,
      snapshotScan: native,
      cheapKeyScan: false,
      lock: canLock() ? "os" : "none",
      atomicOpsMax: Number.MAX_SAFE_INTEGER,
      valueBytesMax: 2 ** 30,
    };
  }

  protected override async doOpen(): Promise<void> {
    const path = await prepareDirectory(this.#location, "db");
    const unlock = await lockLocation(this.#location);
    const { writeBufferBytes: writeBufferSize, cacheBytes: cacheSize } = this.#options;
    const database = new LevelDatabase(path, { writeBufferSize, cacheSize });
    try {
      await database.open();
    } catch (error) {
      unlock?.();
      throw error;
    }
    this.#database = database;
    this.#unlock = unlock;
  }

  protected override async doClose(): Promise<void> {
    const database = this.#open();
    try {
      // Without this a power cut after a clean close could still lose the last writes.
      if (database.failure === undefined) await this.doSync();
      else throw database.failure;
    } finally {
      this.#database = undefined;
      await database.close();
      this.#unlock?.();
      this.#unlock = undefined;
    }
  }

  protected override async doWrite(ops: readonly Op[], sync: boolean): Promise<void> {
    await this.#writes.add({ ops, sync });
  }

  /** An empty batch syncs nothing; LevelDB's log is sequential, so one synced write covers all before it. */
  protected override async doSync(): Promise<void> {
    await this.#writes.add({ ops: [], sync: true });
  }

  /** Writes that came while another was under way go together. */
  async #write(writes: readonly LevelWrite[]): Promise<readonly unknown[]> {
    await this.#open().write(
      (batch) => {
        for (const { ops } of writes) for (const op of ops) apply(batch, op);
        if (writes.every(({ ops }) => ops.length === 0)) batch.put(MARKER_KEY, MARKER_VALUE);
      },
      writes.some(({ sync }) => sync),
    );
    return [];
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const database = await this.#open().current();
    const [first] = keys;
    if (first !== undefined && keys.length === 1) return [plain(await database.get(VALUE_SPACE + first))];
    return (await database.getMany(keys.map((key) => VALUE_SPACE + key))).map(plain);
  }

  protected override async *doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    for await (const page of this.#pages(valueRange(range.prefix, range.after), range.values, range.limit)) {
      yield page.map(([key, value]) => ({ key: key.slice(1), value: plain(value) ?? NO_VALUE }));
    }
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    for await (const page of this.#pages(logRange(log, from), true, Number.MAX_SAFE_INTEGER)) {
      yield page.map(([key, value]) => ({ seq: seqOf(key), value: plain(value) ?? NO_VALUE }));
    }
  }

  protected override doListLogs(prefix: string): AsyncIterable<readonly LogRange[]> {
    return groupLogKeys(this.#keys(logsRange(prefix)));
  }

  async *#keys(range: KeyRange): AsyncGenerator<string[]> {
    for await (const page of this.#pages(range, false, Number.MAX_SAFE_INTEGER)) yield page.map(([key]) => key);
  }

  async *#pages(
    range: KeyRange,
    values: boolean,
    limit: number,
  ): AsyncGenerator<[key: string, value: Uint8Array | undefined][]> {
    let { from, inclusive } = range;
    let left = limit;
    // IndexedDB hands out as many entries as it is asked for, whatever their size: ask for few at first.
    const adapts = values && this.#files === undefined;
    let size = adapts ? FIRST_PAGE_ENTRIES : PAGE_ENTRIES_MAX;
    while (left > 0) {
      const database = await this.#open().current();
      const bounds = { ...(inclusive ? { gte: from } : { gt: from }), lt: range.upto };
      const options = { ...bounds, limit: left === Number.MAX_SAFE_INTEGER ? -1 : left };
      // LevelDB hands out no more bytes than this at a time.
      const highWaterMarkBytes = PAGE_BYTES;
      const iterator = values
        ? database.iterator({ ...options, highWaterMarkBytes })
        : database.keys({ ...options, highWaterMarkBytes, fillCache: false });
      try {
        for (;;) {
          const page = await iterator.nextv(size);
          if (page.length === 0) return;
          const entries = page.map((entry): [string, Uint8Array | undefined] =>
            typeof entry === "string" ? [entry, undefined] : entry,
          );
          if (adapts) size = nextSize(entries);
          from = entries.at(-1)?.[0] ?? from;
          inclusive = false;
          if (limit !== Number.MAX_SAFE_INTEGER) left -= entries.length;
          yield entries;
        }
      } catch (error) {
        // The database was opened anew, which ends its iterators: go on behind the last key.
        if ((await this.#open().current()) === database) throw error;
      } finally {
        await iterator.close();
      }
    }
  }

  protected override async doReadSecret(name: string): Promise<Uint8Array | undefined> {
    return this.#files
      ? await this.#files.read(name)
      : plain(await (await this.#open().current()).get(SECRET_SPACE + name));
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    if (this.#files) await this.#files.write(name, bytes);
    else await this.#open().write((batch) => batch.put(SECRET_SPACE + name, bytes), true);
  }

  #open(): LevelDatabase {
    if (this.#database === undefined) throw new StorageError("NOT_OPEN", `${this.name} is not open`);
    return this.#database;
  }

  protected override explain(cause: unknown): StorageError | undefined {
    if (this.#files !== undefined) return explainDiskError(this.name, cause);
    if (hasCode(cause, "LEVEL_LOCKED")) {
      const advice = "close that tab, or use another name";
      return new StorageError("LOCKED", `${this.name} is in use by another tab: ${advice}`, { cause });
    }
    if (cause instanceof Error && cause.name === "QuotaExceededError") {
      const advice = "free some, or ask for persistent storage; writing goes on then, and nothing written is lost";
      return new StorageError("FULL", `${this.name}: the browser's quota is used up: ${advice}`, { cause });
    }
    return undefined;
  }
}

const FIRST_PAGE_ENTRIES = 3;

interface LevelWrite {
  readonly ops: readonly Op[];
  readonly sync: boolean;
}

/** How many entries to ask for, when the last ones tell how large the next are. */
function nextSize(entries: readonly [string, Uint8Array | undefined][]): number {
  const bytes = entries.reduce((sum, [, value]) => sum + (value?.length ?? 0), 0);
  const fitting = Math.floor((PAGE_BYTES * entries.length) / Math.max(1, bytes));
  return Math.max(1, Math.min(fitting, entries.length * 8, PAGE_ENTRIES_MAX));
}

function apply(batch: LevelBatch, op: Op): void {
  if (op.op === "put") batch.put(VALUE_SPACE + op.key, op.value);
  else if (op.op === "del") batch.del(VALUE_SPACE + op.key);
  else if (op.op === "append") batch.put(logKey(op.log, op.seq), op.value);
  else for (let seq = op.from; seq < op.upto; seq++) batch.del(logKey(op.log, seq));
}

/** LevelDB hands out Buffers, whose `slice` shares memory where that of a Uint8Array copies. */
function plain(value: Uint8Array | undefined): Uint8Array | undefined {
  return value && new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}
