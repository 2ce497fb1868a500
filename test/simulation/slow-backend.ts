import {
  type Capabilities,
  type Entry,
  type LogEntry,
  type LogRange,
  type Op,
  type ScanRange,
  StorageBackend,
} from "@coppice/storage";

/** Waits for virtual time to pass; for a process that has died meanwhile, for ever. */
export type Gate = () => Promise<void>;

/** A backend each of whose operations takes virtual time, so that a process can die before, within and after it. */
export class SlowBackend extends StorageBackend {
  readonly #inner: StorageBackend;
  readonly #gate: Gate;

  constructor(inner: StorageBackend, gate: Gate) {
    super();
    this.#inner = inner;
    this.#gate = gate;
  }

  override get name(): string {
    return this.#inner.name;
  }

  override get capabilities(): Capabilities {
    return this.#inner.capabilities;
  }

  protected override async doOpen(): Promise<void> {
    await this.#gate();
    await this.#inner.open();
  }

  protected override async doClose(): Promise<void> {
    await this.#gate();
    await this.#inner.close();
  }

  protected override async doWrite(ops: readonly Op[], sync: boolean): Promise<void> {
    await this.#gate();
    await this.#inner.write(ops, { sync });
    await this.#gate();
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    await this.#gate();
    return await this.#inner.getMany(keys);
  }

  protected override async *doScan({ prefix, after, limit, values }: ScanRange): AsyncGenerator<readonly Entry[]> {
    await this.#gate();
    yield* this.#inner.scan({ prefix, limit, values, ...(after !== undefined && { after }) });
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    await this.#gate();
    yield* this.#inner.readLog(log, from);
  }

  protected override async *doListLogs(prefix: string): AsyncGenerator<readonly LogRange[]> {
    await this.#gate();
    yield* this.#inner.listLogs({ prefix });
  }

  protected override async doSync(): Promise<void> {
    await this.#gate();
    await this.#inner.sync();
    await this.#gate();
  }

  protected override async doReadSecret(name: string): Promise<Uint8Array | undefined> {
    await this.#gate();
    return await this.#inner.readSecret(name);
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    await this.#gate();
    await this.#inner.writeSecret(name, bytes);
  }
}
