import type { StorageBackend } from "./backend.ts";

interface Request {
  readonly keys: readonly string[];
  readonly resolve: (values: (Uint8Array | undefined)[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Reads keys that are asked for in one turn of the event loop with one call: an engine call costs more than a read. */
export class CoalescedReader {
  readonly #backend: StorageBackend;
  #requests: Request[] = [];

  constructor(backend: StorageBackend) {
    this.#backend = backend;
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return await new Promise((resolve, reject) => {
      this.#requests.push({ keys, resolve, reject });
      if (this.#requests.length === 1) queueMicrotask(() => void this.#read());
    });
  }

  async #read(): Promise<void> {
    const requests = this.#requests;
    this.#requests = [];
    try {
      const values = await this.#backend.getMany(requests.flatMap(({ keys }) => keys));
      let at = 0;
      for (const { keys, resolve } of requests) resolve(values.slice(at, (at += keys.length)));
    } catch (error) {
      for (const { reject } of requests) reject(error);
    }
  }
}
