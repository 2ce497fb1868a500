import { StorageError } from "./error.ts";

interface Waiting<Item> {
  readonly item: Item;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Group commit: items that arrive while a write is under way go into the next write together. Tasks that need the
 * store for themselves take their turn between writes.
 */
export class CommitQueue<Item> {
  readonly #write: (items: readonly Item[]) => Promise<readonly unknown[]>;
  #waiting: Waiting<Item>[] = [];
  #turn: Promise<void> = Promise.resolve();
  #writes = 0;
  #busy = 0;

  /** @param write writes items in order; an error for each that was refused; throws when none was written */
  constructor(write: (items: readonly Item[]) => Promise<readonly unknown[]>) {
    this.#write = write;
  }

  /** Changes with every turn that began: equal values, and no turn under way, mean that nothing was written between. */
  get quiet(): number | undefined {
    return this.#busy === 0 ? this.#writes : undefined;
  }

  async add(item: Item): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#waiting.length === 1) this.alone(() => this.#drain()).catch(() => undefined);
    });
  }

  /** Runs `task` after everything queued so far, and before everything queued later. */
  async alone<Result>(task: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(async () => {
      this.#busy++;
      this.#writes++;
      try {
        return await task();
      } finally {
        this.#busy--;
      }
    });
    this.#turn = turn.then(
      () => undefined,
      () => undefined,
    );
    return await turn;
  }

  async #drain(): Promise<void> {
    const batch = this.#waiting;
    this.#waiting = [];
    try {
      const refusals = await this.#write(batch.map(({ item }) => item));
      batch.forEach(({ resolve, reject }, index) => {
        const refusal = refusals[index];
        if (refusal === undefined) resolve();
        else reject(refusal);
      });
    } catch (error) {
      const failure = error instanceof Error ? error : new StorageError("IO", String(error));
      for (const { reject } of batch) reject(failure);
    }
  }
}
