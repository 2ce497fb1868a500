import {
  type Capabilities,
  type Entry,
  type LogEntry,
  type LogRange,
  type Op,
  type ScanRange,
  StorageBackend,
} from "./backend.ts";
import { inTurns } from "./in-turns.ts";
import { MemoryContents } from "./memory-contents.ts";

/** A backend in the memory of this process. What is written outlives `close` and goes with the object. */
export function memoryStorage(): StorageBackend {
  return new MemoryBackend();
}

class MemoryBackend extends StorageBackend {
  override readonly name = "memory:";
  override readonly capabilities: Capabilities = {
    durable: false,
    sync: false,
    shared: false,
    snapshotScan: false,
    cheapKeyScan: false,
    lock: "none",
    atomicOpsMax: Number.MAX_SAFE_INTEGER,
    valueBytesMax: 2 ** 31 - 1,
  };

  readonly #contents = new MemoryContents();
  readonly #secrets = new Map<string, Uint8Array>();

  protected override async doOpen(): Promise<void> {}

  protected override async doClose(): Promise<void> {}

  protected override async doSync(): Promise<void> {}

  protected override async doWrite(ops: readonly Op[]): Promise<void> {
    for (const op of ops) this.#contents.apply(op);
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return keys.map((key) => this.#contents.get(key));
  }

  protected override doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    return inTurns(this.#contents.scan(range));
  }

  protected override doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    return inTurns(this.#contents.readLog(log, from));
  }

  protected override doListLogs(prefix: string): AsyncGenerator<readonly LogRange[]> {
    return inTurns(this.#contents.listLogs(prefix));
  }

  protected override async doReadSecret(name: string): Promise<Uint8Array | undefined> {
    return this.#secrets.get(name)?.slice();
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    this.#secrets.set(name, bytes.slice());
  }
}
