import {
  bytesToOpen,
  canLock,
  lockLocation,
  nextTurn,
  openWithLogs,
  prepareDirectory,
  type SecretFiles,
  secretFiles,
} from "#platform";
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
  type RottenFile,
  type ScanRange,
  StorageBackend,
} from "../backend.ts";
import { checkOptions } from "../check-options.ts";
import { CommitQueue } from "../commit-queue.ts";
import { explainDiskError } from "../disk-error.ts";
import { StorageError } from "../error.ts";
import {
  groupLogKeys,
  type KeyRange,
  logEntry,
  logKey,
  logRange,
  logsRange,
  MARKER_KEY,
  MARKER_VALUE,
  SECRET_SPACE,
  valueRange,
} from "../flat-keys.ts";
import { findHidden } from "./hidden-keys.ts";
import { type Database, type LevelBatch, LevelDatabase, repairLevel } from "./level-database.ts";

/** After a failed write two logs can have to become tables: of the buffer that fills, and of the one before it. */
const ROOM = 2;

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
  checkOptions("levelStorage", options, ["writeBufferBytes", "cacheBytes"]);
  const { writeBufferBytes = 32 << 20, cacheBytes = 8 << 20 } = options;
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
  #rottenFiles: readonly RottenFile[] = [];
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

  override get rottenFiles(): readonly RottenFile[] {
    return this.#rottenFiles;
  }

  protected override async doOpen(): Promise<void> {
    const path = await prepareDirectory(this.#location, "db");
    const unlock = await lockLocation(this.#location, path);
    const { writeBufferBytes: writeBufferSize, cacheBytes: cacheSize } = this.#options;
    const database = new LevelDatabase(path, { writeBufferSize, cacheSize });
    try {
      this.#rottenFiles = await openWithLogs(path, `${this.#location}/rotten`, () => database.open());
    } catch (error) {
      await database.close();
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
      await database.close().finally(() => this.#unlock?.());
      this.#unlock = undefined;
    }
  }

  protected override async doRepair(): Promise<boolean> {
    const path = await prepareDirectory(this.#location, "db");
    const unlock = await lockLocation(this.#location, path);
    try {
      return await repairLevel(path);
    } finally {
      unlock?.();
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
    const ops = writes.length === 1 ? (writes[0] as LevelWrite).ops : writes.flatMap((write) => write.ops);
    await this.#open().write(
      async (batch) => {
        for (let from = 0; from < ops.length; from += SLICE_OPS) {
          if (from > 0) await nextTurn();
          for (const op of ops.slice(from, from + SLICE_OPS)) apply(batch, op);
        }
        if (ops.length === 0) batch.put(MARKER_KEY, MARKER_VALUE);
      },
      writes.some(({ sync }) => sync),
    );
    return [];
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const database = await this.#open().current();
    const [first] = keys;
    const isOne = first !== undefined && keys.length === 1;
    const values: (Uint8Array | undefined)[] = isOne ? [await database.get(first)] : await database.getMany([...keys]);
    if (this.#files !== undefined && values.includes(undefined)) await findHidden(database, keys, values);
    return values.map(plainIfAny);
  }

  protected override async *doScan({ prefix, after, values, limit }: ScanRange): AsyncGenerator<readonly Entry[]> {
    const range = valueRange(prefix, after);
    if (values) for await (const page of this.#entries(range, limit)) yield page.map(entryOf);
    else for await (const page of this.#keys(range, limit)) yield page.map((key) => ({ key, value: NO_VALUE }));
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    for await (const page of this.#entries(logRange(log, from))) {
      yield page.flatMap(([key, value]) => logEntry(log, key, plain(value)));
    }
  }

  protected override doListLogs(prefix: string): AsyncIterable<readonly LogRange[]> {
    return groupLogKeys(this.#keys(logsRange(prefix)));
  }

  #entries(range: KeyRange, limit = Number.MAX_SAFE_INTEGER): AsyncGenerator<LevelEntry[]> {
    return this.#pages<LevelEntry>(range, limit, {
      iterate: (database, options) => database.iterator(options),
      keyOf: ([key]) => key,
      // IndexedDB hands out as many entries as it is asked for, whatever their size: ask for few at first.
      ...(this.#files === undefined && { bytesOf: ([, value]) => value.length }),
    });
  }

  #keys(range: KeyRange, limit = Number.MAX_SAFE_INTEGER): AsyncGenerator<string[]> {
    return this.#pages<string>(range, limit, {
      iterate: (database, options) => database.keys({ ...options, fillCache: false }),
      keyOf: (key) => key,
    });
  }

  async *#pages<Item>(range: KeyRange, limit: number, items: LevelItems<Item>): AsyncGenerator<Item[]> {
    let { from, inclusive } = range;
    let left = limit;
    let size = items.bytesOf === undefined ? PAGE_ENTRIES_MAX : FIRST_PAGE_ENTRIES;
    while (left > 0) {
      const database = await this.#open().current();
      const bounds = { ...(inclusive ? { gte: from } : { gt: from }), lt: range.upto };
      const most = left === Number.MAX_SAFE_INTEGER ? -1 : left;
      // LevelDB hands out no more bytes than this at a time.
      const iterator = items.iterate(database, { ...bounds, limit: most, highWaterMarkBytes: PAGE_BYTES });
      try {
        let next = iterator.nextv(size);
        for (;;) {
          const page = await next;
          const last = page.at(-1);
          if (last === undefined) return;
          if (items.bytesOf !== undefined) size = nextSize(page, items.bytesOf);
          // Read ahead: the engine works on another thread.
          next = iterator.nextv(size);
          next.catch(() => undefined);
          from = items.keyOf(last);
          inclusive = false;
          if (most >= 0) left -= page.length;
          yield page;
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
      : plainIfAny(await (await this.#open().current()).get(SECRET_SPACE + name));
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    if (this.#files) await this.#files.write(name, bytes);
    else await this.#open().write((batch) => batch.put(SECRET_SPACE + name, bytes), true);
  }

  #open(): LevelDatabase {
    if (this.#database === undefined) throw new StorageError("NOT_OPEN", `${this.name} is not open`);
    return this.#database;
  }

  /** One write can be larger than the buffer, and so can its log. */
  #bytesToGoOn(): number {
    return Math.max(ROOM * this.#options.writeBufferBytes, bytesToOpen(`${this.#location}/db`));
  }

  protected override explain(cause: unknown): StorageError | undefined {
    if (this.#files !== undefined) {
      return explainDiskError(this.name, cause, { bytesToGoOn: () => this.#bytesToGoOn(), canRepair: true });
    }
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

type LevelEntry = [key: string, value: Uint8Array];

/** Keys, or entries, of a range. */
interface LevelItems<Item> {
  iterate(database: Database, options: IteratorOptions): LevelIterator<Item>;
  keyOf(item: Item): string;
  /** Given when pages are to be kept small by asking for fewer items. */
  bytesOf?(item: Item): number;
}

interface IteratorOptions {
  readonly gte?: string;
  readonly gt?: string;
  readonly lt: string;
  readonly limit: number;
  readonly highWaterMarkBytes: number;
}

interface LevelIterator<Item> {
  nextv(size: number): Promise<Item[]>;
  close(): Promise<void>;
}

const FIRST_PAGE_ENTRIES = 3;
/** Operations put into a batch in one turn of the event loop: about a millisecond's worth. */
const SLICE_OPS = 1000;

interface LevelWrite {
  readonly ops: readonly Op[];
  readonly sync: boolean;
}

/** How many items to ask for, when the last ones tell how large the next are. */
function nextSize<Item>(page: readonly Item[], bytesOf: (item: Item) => number): number {
  const bytes = page.reduce((sum, item) => sum + bytesOf(item), 0);
  const fitting = Math.floor((PAGE_BYTES * page.length) / Math.max(1, bytes));
  return Math.max(1, Math.min(fitting, page.length * 8, PAGE_ENTRIES_MAX));
}

function apply(batch: LevelBatch, op: Op): void {
  if (op.op === "put") batch.put(op.key, op.value);
  else if (op.op === "del") batch.del(op.key);
  else if (op.op === "append") batch.put(logKey(op.log, op.seq), op.value);
  else for (let seq = op.from; seq < op.upto; seq++) batch.del(logKey(op.log, seq));
}

function entryOf([key, value]: LevelEntry): Entry {
  return { key, value: plain(value) };
}

/** LevelDB hands out Buffers, whose `slice` shares memory where that of a Uint8Array copies. */
function plain(value: Uint8Array): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

function plainIfAny(value: Uint8Array | undefined): Uint8Array | undefined {
  return value && plain(value);
}
