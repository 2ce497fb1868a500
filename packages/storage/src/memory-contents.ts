import {
  type Entry,
  type LogEntry,
  type LogRange,
  NO_VALUE,
  type Op,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  type ScanRange,
} from "./backend.ts";

/** Keys and logs in memory: what the memory backend holds, and the simulated disk of `./testing`. */
export class MemoryContents {
  readonly #values = new Map<string, Uint8Array>();
  readonly #logs = new Map<string, Map<number, Uint8Array>>();
  /** The keys in order, made when a scan first needs them after a key came or went. */
  #ordered: string[] | undefined;

  /** Bytes of all values and log entries. */
  bytes(): number {
    let sum = 0;
    for (const value of this.#values.values()) sum += value.length;
    for (const entries of this.#logs.values()) for (const value of entries.values()) sum += value.length;
    return sum;
  }

  clone(): MemoryContents {
    const copy = new MemoryContents();
    for (const [key, value] of this.#values) copy.#values.set(key, value);
    for (const [log, entries] of this.#logs) copy.#logs.set(log, new Map(entries));
    return copy;
  }

  apply(op: Op): void {
    // Copies: the caller may reuse its buffers, and must not reach what is stored.
    if (op.op === "put") {
      if (!this.#values.has(op.key)) this.#ordered = undefined;
      this.#values.set(op.key, op.value.slice());
    } else if (op.op === "del") {
      if (this.#values.delete(op.key)) this.#ordered = undefined;
    } else if (op.op === "append") {
      this.#append(op.log, op.seq, op.value);
    } else {
      this.#truncate(op.log, op.from, op.upto);
    }
  }

  #append(log: string, seq: number, value: Uint8Array): void {
    let entries = this.#logs.get(log);
    if (entries === undefined) {
      entries = new Map();
      this.#logs.set(log, entries);
    }
    entries.set(seq, value.slice());
  }

  #truncate(log: string, from: number, upto: number): void {
    const entries = this.#logs.get(log);
    if (entries === undefined) return;
    for (const seq of entries.keys()) if (seq >= from && seq < upto) entries.delete(seq);
    if (entries.size === 0) this.#logs.delete(log);
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key)?.slice();
  }

  *scan(range: ScanRange): Generator<readonly Entry[]> {
    this.#ordered ??= [...this.#values.keys()].sort();
    const keys = this.#ordered;
    const { prefix, after } = range;
    let left = range.limit;
    let at = after !== undefined && after >= prefix ? lowerBound(keys, after) : lowerBound(keys, prefix);
    if (keys[at] === after) at++;
    while (left > 0 && at < keys.length) {
      const page: Entry[] = [];
      let bytes = 0;
      while (page.length < Math.min(left, PAGE_ENTRIES_MAX) && bytes < PAGE_BYTES) {
        const key = keys[at];
        if (key === undefined || !key.startsWith(prefix)) break;
        at++;
        const value = this.#values.get(key);
        if (value === undefined) continue;
        page.push({ key, value: range.values ? value.slice() : NO_VALUE });
        if (range.values) bytes += value.length;
      }
      if (page.length === 0) return;
      left -= page.length;
      yield page;
    }
  }

  *readLog(log: string, from: number): Generator<readonly LogEntry[]> {
    const entries = this.#logs.get(log);
    if (entries === undefined) return;
    const seqs = [...entries.keys()].filter((seq) => seq >= from).sort((a, b) => a - b);
    let page: LogEntry[] = [];
    let bytes = 0;
    for (const seq of seqs) {
      const value = entries.get(seq);
      if (value === undefined) continue;
      page.push({ seq, value: value.slice() });
      bytes += value.length;
      if (page.length < PAGE_ENTRIES_MAX && bytes < PAGE_BYTES) continue;
      yield page;
      [page, bytes] = [[], 0];
    }
    if (page.length > 0) yield page;
  }

  *listLogs(prefix: string): Generator<readonly LogRange[]> {
    const names = [...this.#logs.keys()].filter((log) => log.startsWith(prefix)).sort();
    for (let at = 0; at < names.length; at += PAGE_ENTRIES_MAX) {
      const page: LogRange[] = [];
      for (const log of names.slice(at, at + PAGE_ENTRIES_MAX)) {
        let first = Number.POSITIVE_INFINITY;
        let last = -1;
        for (const seq of this.#logs.get(log)?.keys() ?? []) {
          first = Math.min(first, seq);
          last = Math.max(last, seq);
        }
        if (last >= 0) page.push({ log, first, last });
      }
      yield page;
    }
  }
}

/** Index of the first key that is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
