import { Level } from "level";
import { spaceFor } from "#platform";

export type Database = Level<string, Uint8Array>;

/**
 * Has LevelDB make a new `MANIFEST` from its tables and logs, and move what it cannot read into `lost/`. Nobody may have it
 * open: it takes no lock. False where it cannot (IndexedDB).
 */
export async function repairLevel(path: string): Promise<boolean> {
  const { repair } = Level as { repair?: (location: string) => Promise<void> };
  await repair?.call(Level, path);
  return repair !== undefined;
}

/** What one write puts and deletes. */
export interface LevelBatch {
  put(key: string, value: Uint8Array): unknown;
  del(key: string): unknown;
}

/**
 * A LevelDB that is opened anew after a failed write, before it takes the next one.
 *
 * A failed append leaves half a record in LevelDB's log. LevelDB goes on behind it, acknowledges and syncs, and at the
 * next start drops all of that silently. Opening anew ends the log before the half record. On a full disk that cannot
 * succeed and would end the reads, too, so it is tried only when there is space for it.
 */
export class LevelDatabase {
  readonly #path: string;
  readonly #options: { readonly writeBufferSize: number; readonly cacheSize: number };
  #database: Database | undefined;
  #failure: Error | undefined;
  #reopening: Promise<void> | undefined;

  constructor(path: string, options: { readonly writeBufferSize: number; readonly cacheSize: number }) {
    this.#path = path;
    this.#options = options;
  }

  /** Why the last write failed, until the database was opened anew. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  async open(): Promise<void> {
    const database: Database = new Level(this.#path, { keyEncoding: "utf8", valueEncoding: "view", ...this.#options });
    try {
      await database.open();
    } catch (error) {
      await database.close();
      throw error;
    }
    this.#database = database;
  }

  async close(): Promise<void> {
    await this.#reopening?.catch(() => undefined);
    const database = this.#database;
    this.#database = undefined;
    await database?.close();
  }

  /** The database to read from. It changes when it is opened anew, and its iterators end. */
  async current(): Promise<Database> {
    await this.#reopening?.catch(() => undefined);
    if (this.#database === undefined) throw this.#failure ?? new Error("the database is not open");
    return this.#database;
  }

  /** One write at a time: one that runs beside a failing one could be acknowledged behind its half record. */
  async write(fill: (batch: LevelBatch) => unknown, sync: boolean): Promise<void> {
    if (this.#failure !== undefined) await this.#reopen(this.#failure);
    // A chained batch is three times faster than an array of operations, and blocks the event loop far less.
    const batch = (await this.current()).batch();
    try {
      await fill(batch);
    } catch (error) {
      await batch.close();
      throw error;
    }
    // `sync` is an option of classic-level only; browser-level ignores it, and the shared type leaves it out.
    const options: object = { sync };
    try {
      await batch.write(options);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  async #reopen(failure: Error): Promise<void> {
    if (!(await spaceFor(this.#path))) throw failure;
    this.#reopening = (async () => {
      const database = this.#database;
      this.#database = undefined;
      await database?.close();
      await this.open();
      this.#failure = undefined;
    })();
    try {
      await this.#reopening;
    } finally {
      this.#reopening = undefined;
    }
  }
}
