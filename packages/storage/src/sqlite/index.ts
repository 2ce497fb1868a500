import { prepareDirectory, type SecretFiles, secretFiles } from "#platform";
import {
  type Capabilities,
  type Entry,
  type LogEntry,
  type LogRange,
  NO_VALUE,
  type Op,
  PAGE_ENTRIES_MAX,
  type ScanRange,
  StorageBackend,
} from "../backend.ts";
import { StorageError } from "../error.ts";

// `node:sqlite` came with Node.js 22.5; the types are those of the oldest supported version.
interface Statement {
  run(...values: unknown[]): unknown;
  get(...values: unknown[]): Record<string, unknown> | undefined;
  all(...values: unknown[]): Record<string, unknown>[];
}
interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}
interface SqliteModule {
  readonly DatabaseSync: new (path: string) => Database;
}

const SCHEMA = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  BEGIN IMMEDIATE;
  CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS logs (log TEXT, seq INTEGER, value BLOB NOT NULL, PRIMARY KEY (log, seq)) WITHOUT ROWID;
  COMMIT;
`;
/** Above every character of a key. */
const END = "\u007f";

/**
 * A durable backend where the runtime has `node:sqlite` (Node.js 22.13 and later): one SQLite file in the directory
 * `location`. The engine runs on the event loop's thread and blocks it: for small stores.
 *
 * Throws `INVALID_OPTIONS`. `open` fails with `LOCKED` when another process has the file open, and with `IO` where
 * there is no `node:sqlite`.
 */
export function sqliteStorage(location: string, options: object = {}): StorageBackend {
  if (typeof location !== "string" || location === "") {
    throw new StorageError("INVALID_OPTIONS", "sqliteStorage needs a directory");
  }
  for (const name of Object.keys(options)) {
    throw new StorageError("INVALID_OPTIONS", `sqliteStorage has no option ${JSON.stringify(name)}`);
  }
  return new SqliteBackend(location);
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
  readonly #statements = new Map<string, Statement>();
  #database: Database | undefined;
  #synchronous = false;

  constructor(location: string) {
    super();
    this.name = `sqlite:${location}`;
    this.#location = location;
    this.#files = secretFiles(location);
  }

  protected override async doOpen(): Promise<void> {
    const { DatabaseSync } = await loadSqlite(this.name);
    const database = new DatabaseSync(await prepareDirectory(this.#location, "data.sqlite"));
    try {
      database.exec(SCHEMA);
    } catch (error) {
      database.close();
      throw error;
    }
    this.#synchronous = false;
    this.#database = database;
  }

  protected override async doClose(): Promise<void> {
    const database = this.#open();
    try {
      await this.doSync();
    } finally {
      this.#statements.clear();
      this.#database = undefined;
      database.close();
    }
  }

  protected override async doWrite(ops: readonly Op[], sync: boolean): Promise<void> {
    const database = this.#open();
    this.#setSynchronous(sync);
    database.exec("BEGIN IMMEDIATE");
    try {
      for (const op of ops) this.#apply(op);
      database.exec("COMMIT");
    } catch (error) {
      this.#rollback(database);
      throw error;
    }
  }

  #apply(op: Op): void {
    if (op.op === "put") this.#statement("INSERT OR REPLACE INTO entries VALUES (?, ?)").run(op.key, op.value);
    else if (op.op === "del") this.#statement("DELETE FROM entries WHERE key = ?").run(op.key);
    else if (op.op === "append") {
      this.#statement("INSERT OR REPLACE INTO logs VALUES (?, ?, ?)").run(op.log, op.seq, op.value);
    } else {
      const remove = this.#statement("DELETE FROM logs WHERE log = ? AND seq >= ? AND seq < ?");
      remove.run(op.log, op.from, op.upto);
    }
  }

  /** After some errors SQLite has rolled back itself; the first error is the one that counts. */
  #rollback(database: Database): void {
    try {
      database.exec("ROLLBACK");
    } catch {
      return;
    }
  }

  /** In WAL mode, FULL syncs the log at each commit, with all that earlier commits left unsynced in it. */
  #setSynchronous(sync: boolean): void {
    if (sync === this.#synchronous) return;
    this.#open().exec(`PRAGMA synchronous = ${sync ? "FULL" : "NORMAL"}`);
    this.#synchronous = sync;
  }

  protected override async doSync(): Promise<void> {
    // A commit without changes syncs nothing. The name is no key that a caller can have.
    await this.doWrite([{ op: "append", log: "", seq: 0, value: NO_VALUE }], true);
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const select = this.#statement("SELECT value FROM entries WHERE key = ?");
    return keys.map((key) => select.get(key)?.["value"] as Uint8Array | undefined);
  }

  protected override async *doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    const { prefix, values } = range;
    const columns = values ? "key, value" : "key";
    let after = range.after !== undefined && range.after >= prefix ? range.after : undefined;
    let left = range.limit;
    while (left > 0) {
      const comparison = after === undefined ? ">=" : ">";
      const sql = `SELECT ${columns} FROM entries WHERE key ${comparison} ? AND key < ? ORDER BY key LIMIT ?`;
      const rows = this.#statement(sql).all(after ?? prefix, prefix + END, Math.min(left, PAGE_ENTRIES_MAX));
      if (rows.length === 0) return;
      const page = rows.map((row) => ({
        key: row["key"] as string,
        value: values ? (row["value"] as Uint8Array) : NO_VALUE,
      }));
      yield page;
      left -= page.length;
      after = page.at(-1)?.key;
    }
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    const sql = "SELECT seq, value FROM logs WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?";
    let next = from;
    for (;;) {
      const rows = this.#statement(sql).all(log, next, PAGE_ENTRIES_MAX);
      const page = rows.map((row) => ({ seq: row["seq"] as number, value: row["value"] as Uint8Array }));
      const last = page.at(-1);
      if (last === undefined) return;
      yield page;
      next = last.seq + 1;
    }
  }

  protected override async *doListLogs(prefix: string): AsyncGenerator<readonly LogRange[]> {
    const sql =
      "SELECT log, min(seq) AS first, max(seq) AS last FROM logs " +
      "WHERE log > ? AND log >= ? AND log < ? GROUP BY log ORDER BY log LIMIT ?";
    let after = "";
    for (;;) {
      const rows = this.#statement(sql).all(after, prefix, prefix + END, PAGE_ENTRIES_MAX);
      const page = rows.map((row) => ({
        log: row["log"] as string,
        first: row["first"] as number,
        last: row["last"] as number,
      }));
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

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#open().prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #open(): Database {
    if (this.#database === undefined) throw new StorageError("NOT_OPEN", `${this.name} is not open`);
    return this.#database;
  }

  protected override explain(cause: unknown): StorageError | undefined {
    if (!(cause instanceof Error)) return undefined;
    if (/database is locked|SQLITE_BUSY/i.test(cause.message)) {
      const advice = "stop the other process, or use another directory";
      return new StorageError("LOCKED", `${this.name} is in use by another process: ${advice}`, { cause });
    }
    if (/database or disk is full|SQLITE_FULL/i.test(cause.message)) {
      const advice = "free space and try again; nothing written before is lost";
      return new StorageError("FULL", `${this.name}: the disk is full: ${advice}`, { cause });
    }
    return undefined;
  }
}

async function loadSqlite(name: string): Promise<SqliteModule> {
  // A variable, so that neither the compiler nor a bundler looks for the module where it does not exist.
  const specifier = "node:sqlite";
  try {
    return (await import(specifier)) as SqliteModule;
  } catch (cause) {
    const advice = "it needs Node.js 22.13 or later";
    throw new StorageError("IO", `${name}: this runtime has no node:sqlite: ${advice}`, { cause });
  }
}
