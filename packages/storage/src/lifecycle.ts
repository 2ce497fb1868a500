export type Status = "closed" | "opening" | "open" | "closing";

/** Opening and closing, one at a time and in the order of the calls, so that the last call decides. */
export class Lifecycle {
  #status: Status = "closed";
  #turn: Promise<void> = Promise.resolve();

  get status(): Status {
    return this.#status;
  }

  /** Runs `open`, unless it is open already; when that fails, it stays closed. */
  async open(open: () => Promise<void>): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#status === "open") return;
      this.#status = "opening";
      try {
        await open();
        this.#status = "open";
      } catch (error) {
        this.#status = "closed";
        throw error;
      }
    });
  }

  /** Runs `close`, if it is open; also when that fails, it is closed then. */
  async close(close: () => Promise<void>): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#status !== "open") return;
      this.#status = "closing";
      try {
        await close();
      } finally {
        this.#status = "closed";
      }
    });
  }

  async #inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(task);
    this.#turn = turn.catch(() => undefined);
    await turn;
  }
}
