import type { Op, StorageBackend, WriteOptions } from "./backend.ts";
import { CoalescedReader } from "./coalesced-reader.ts";
import { JournalIndex } from "./journal-index.ts";
import { JournalTails } from "./journal-tails.ts";

/** A backend as a group store uses it: reads are coalesced, and it is known what journals there are, and whether any has a tail. */
export class StoreEngine {
  readonly backend: StorageBackend;
  readonly journals: JournalIndex;
  readonly tails: JournalTails;
  readonly #reader: CoalescedReader;

  constructor(backend: StorageBackend) {
    this.backend = backend;
    this.journals = new JournalIndex(backend);
    this.tails = new JournalTails(backend);
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
    const guarded = this.tails.guard(ops);
    try {
      await this.backend.write(guarded.ops, guarded.removes ? { ...options, sync: true } : options);
    } catch (error) {
      this.journals.attempted(ops);
      this.tails.doubt();
      throw error;
    }
    if (guarded.removes) this.tails.removed();
    this.journals.written(ops);
  }
}
