import type { Op, StorageBackend, WriteOptions } from "./backend.ts";
import { CoalescedReader } from "./coalesced-reader.ts";
import { JournalIndex } from "./journal-index.ts";

/** A backend as a group store uses it: reads are coalesced, and what journals there are is known. */
export class StoreEngine {
  readonly backend: StorageBackend;
  readonly journals: JournalIndex;
  readonly #reader: CoalescedReader;

  constructor(backend: StorageBackend) {
    this.backend = backend;
    this.journals = new JournalIndex(backend);
    this.#reader = new CoalescedReader(backend);
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return (await this.#reader.getMany([key]))[0];
  }

  /** The values in the order of `keys`. */
  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return await this.#reader.getMany(keys);
  }

  async write(ops: readonly Op[], options?: WriteOptions): Promise<void> {
    try {
      await this.backend.write(ops, options);
    } catch (error) {
      this.journals.attempted(ops);
      throw error;
    }
    this.journals.written(ops);
  }
}
