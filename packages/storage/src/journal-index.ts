import type { Op, StorageBackend } from "./backend.ts";
import { LogEnds } from "./log-ends.ts";

/**
 * The logs that have entries, with their last sequence number, so that nothing is read where there is nothing. Filled
 * from one listing when first needed, then kept up with every write.
 */
export class JournalIndex {
  readonly #backend: StorageBackend;
  #last: LogEnds | undefined;
  #filling: Promise<void> | undefined;
  /** Changes that were written while the listing ran: it may have seen them or not. */
  #meanwhile: (readonly Op[])[] = [];
  #stop = new AbortController();

  constructor(backend: StorageBackend) {
    this.#backend = backend;
  }

  /** Forgets everything, before the backend closes. A listing under way ends. */
  async clear(): Promise<void> {
    this.#stop.abort();
    await this.#filling?.catch(() => undefined);
    this.#stop = new AbortController();
    this.#last = undefined;
    this.#meanwhile = [];
  }

  /** Resolves once {@link last} can be asked. */
  async ready(): Promise<void> {
    if (this.#last !== undefined) return;
    this.#filling ??= this.#fill().finally(() => (this.#filling = undefined));
    await this.#filling;
  }

  /** The sequence number of a log's last entry; -1 for a log without entries. */
  last(log: string): number {
    return this.#last?.get(log) ?? -1;
  }

  /** Whether a log has entries from `from` on. Nobody waits for the list of all: until it is made, this one is looked at. */
  async reaches(log: string, from: number): Promise<boolean> {
    if (this.#last !== undefined) return this.last(log) >= from;
    this.ready().catch(() => undefined);
    for await (const page of this.#backend.readLog(log, from)) return page.length > 0;
    return false;
  }

  /** Takes note of a write that succeeded. */
  written(ops: readonly Op[]): void {
    if (this.#last !== undefined) this.#apply(this.#last, ops);
    else if (this.#filling !== undefined) this.#meanwhile.push(ops);
  }

  /** Takes note of a write that failed: it may be there or not, so what it appended is looked for. */
  attempted(ops: readonly Op[]): void {
    this.written(ops.filter((op) => op.op === "append"));
  }

  async #fill(): Promise<void> {
    const last = new LogEnds();
    const { signal } = this.#stop;
    this.#meanwhile = [];
    for await (const page of this.#backend.listLogs({ signal })) {
      for (const range of page) last.set(range.log, range.last);
    }
    for (const ops of this.#meanwhile) this.#apply(last, ops);
    this.#meanwhile = [];
    this.#last = last;
  }

  #apply(last: LogEnds, ops: readonly Op[]): void {
    for (const op of ops) {
      if (op.op === "append") last.set(op.log, Math.max(op.seq, last.get(op.log)));
      else if (op.op === "truncate") {
        const end = last.get(op.log);
        if (end < 0 || op.upto <= end || op.from > end) continue;
        // What is left, if anything, ends before the removed range.
        last.set(op.log, op.from - 1);
      }
    }
  }
}
