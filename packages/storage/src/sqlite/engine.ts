import {
  type Entry,
  type LogEntry,
  type LogRange,
  NO_VALUE,
  type Op,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  type ScanRange,
} from "../backend.ts";

// `node:sqlite` came with Node.js 22.5; the types are those of the oldest supported version.
interface Statement {
  run(...values: unknown[]): unknown;
  get(...values: unknown[]): Record<string, unknown> | undefined;
  all(...values: unknown[]): Record<string, unknown>[];
  iterate(...values: unknown[]): Iterable<Record<string, unknown>>;
}
interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}
export interface SqliteModule {
  readonly DatabaseSync: new (path: string) => Database;
}

/** One operation; instead of its value, how many bytes of those that come with the write are its own. */
export type PackedOp =
  | { readonly op: "put"; readonly key: string; readonly bytes: number }
  | { readonly op: "append"; readonly log: string; readonly seq: number; readonly bytes: number }
  | Exclude<Op, { readonly value: Uint8Array }>;

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

/** The database itself, for a thread that may block. */
export class SqliteEngine {
  readonly #database: Database;
  readonly #statements = new Map<string, Statement>();
  #synchronous = false;

  constructor(sqlite: SqliteModule, path: string) {
    this.#database = new sqlite.DatabaseSync(path);
    try {
      this.#database.exec(SCHEMA);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  /** All of `ops`, or nothing. Without any, what was written before is synced. */
  write(ops: readonly PackedOp[], values: Uint8Array, sync: boolean): void {
    this.#setSynchronous(sync);
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      let at = 0;
      for (const op of ops) {
        const length = "bytes" in op ? op.bytes : 0;
        this.#apply(op, values.subarray(at, at + length));
        at += length;
      }
      // A commit without changes syncs nothing. The name is no key that a caller can have.
      if (ops.length === 0) this.#apply({ op: "append", log: "", seq: 0, bytes: 0 }, NO_VALUE);
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#rollback();
      throw error;
    }
  }

  #apply(op: PackedOp, value: Uint8Array): void {
    if (op.op === "put") this.#statement("INSERT OR REPLACE INTO entries VALUES (?, ?)").run(op.key, value);
    else if (op.op === "del") this.#statement("DELETE FROM entries WHERE key = ?").run(op.key);
    else if (op.op === "append") {
      this.#statement("INSERT OR REPLACE INTO logs VALUES (?, ?, ?)").run(op.log, op.seq, value);
    } else {
      const remove = this.#statement("DELETE FROM logs WHERE log = ? AND seq >= ? AND seq < ?");
      remove.run(op.log, op.from, op.upto);
    }
  }

  /** After some errors SQLite has rolled back itself; the first error is the one that counts. */
  #rollback(): void {
    try {
      this.#database.exec("ROLLBACK");
    } catch {
      return;
    }
  }

  /** In WAL mode, FULL syncs the log at each commit, with all that earlier commits left unsynced in it. */
  #setSynchronous(sync: boolean): void {
    if (sync === this.#synchronous) return;
    this.#database.exec(`PRAGMA synchronous = ${sync ? "FULL" : "NORMAL"}`);
    this.#synchronous = sync;
  }

  getMany(keys: readonly string[]): (Uint8Array | undefined)[] {
    const select = this.#statement("SELECT value FROM entries WHERE key = ?");
    return keys.map((key) => select.get(key)?.["value"] as Uint8Array | undefined);
  }

  /** The first page of a range; empty when there is none. */
  scanPage({ prefix, after, limit, values }: ScanRange): Entry[] {
    const from = after !== undefined && after >= prefix ? after : undefined;
    const sql =
      `SELECT ${values ? "key, value" : "key"} FROM entries ` +
      `WHERE key ${from === undefined ? ">=" : ">"} ? AND key < ? ORDER BY key LIMIT ?`;
    const rows = this.#statement(sql).iterate(from ?? prefix, prefix + END, Math.min(limit, PAGE_ENTRIES_MAX));
    return page(rows, (row) => ({
      key: row["key"] as string,
      value: values ? (row["value"] as Uint8Array) : NO_VALUE,
    }));
  }

  logPage(log: string, from: number): LogEntry[] {
    const sql = "SELECT seq, value FROM logs WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?";
    const rows = this.#statement(sql).iterate(log, from, PAGE_ENTRIES_MAX);
    return page(rows, (row) => ({ seq: row["seq"] as number, value: row["value"] as Uint8Array }));
  }

  /** The first logs behind `after`. */
  logsPage(prefix: string, after: string): LogRange[] {
    const sql =
      "SELECT log, min(seq) AS first, max(seq) AS last FROM logs " +
      "WHERE log > ? AND log >= ? AND log < ? GROUP BY log ORDER BY log LIMIT ?";
    return this.#statement(sql)
      .all(after, prefix, prefix + END, PAGE_ENTRIES_MAX)
      .map((row) => ({ log: row["log"] as string, first: row["first"] as number, last: row["last"] as number }));
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

function page<Row, Made extends { readonly value: Uint8Array }>(rows: Iterable<Row>, make: (row: Row) => Made): Made[] {
  const made: Made[] = [];
  let bytes = 0;
  for (const row of rows) {
    const item = make(row);
    made.push(item);
    bytes += item.value.length;
    if (bytes >= PAGE_BYTES) break;
  }
  return made;
}
