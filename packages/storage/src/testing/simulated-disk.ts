import {
  type Capabilities,
  type Entry,
  type LogEntry,
  type LogRange,
  type Op,
  type ScanRange,
  StorageBackend,
} from "../backend.ts";
import { StorageError } from "../error.ts";
import { MemoryContents } from "../memory-contents.ts";

/** What reached the disk, in order. */
export interface DiskWrite {
  readonly ops: readonly Op[];
  /** Whether it and all before it were on stable storage when it was acknowledged. */
  readonly synced: boolean;
}

/** What a power cut leaves. */
export interface PowerCut {
  /** Writes that had reached the disk, synced or not. Default: all. */
  readonly writes?: number;
  /** Of the unsynced ones among them, whether each survives. Default: none does. */
  readonly survives?: (index: number) => boolean;
  /** The first write that does not survive leaves so many of its operations, and of the next only half the value. */
  readonly tornOps?: number;
}

export interface DiskFaults {
  /** Asked before each operation; the error to fail with. A failed sync leaves the writes before it unsynced. */
  fail?: ((operation: "open" | "write" | "read" | "sync") => Error | undefined) | undefined;
  /** Writes that would take the contents above this fail with `FULL`. */
  bytesMax?: number;
}

/**
 * A disk in memory that can lose power. A backend on it passes `backendSuite`; between its calls a test may cut the
 * power, rot bits, clone the disk, or make operations fail.
 */
export class SimulatedDisk {
  readonly faults: DiskFaults = {};
  /** How many values have rotted. */
  rots = 0;
  readonly #history: DiskWrite[] = [];
  #base = new MemoryContents();
  #contents = new MemoryContents();
  readonly #secrets: Map<string, Uint8Array>;
  #holder: object | undefined;

  constructor(secrets: Map<string, Uint8Array> = new Map()) {
    this.#secrets = secrets;
  }

  /** A closed backend on this disk. Only one of them can be open. */
  backend(): StorageBackend {
    return new SimulatedBackend(this);
  }

  /** All writes since the disk was made. */
  get history(): readonly DiskWrite[] {
    return this.#history;
  }

  /** A new disk with what a power cut at some point in the history would have left. This one goes on. */
  afterPowerCut(cut: PowerCut = {}): SimulatedDisk {
    const upto = cut.writes ?? this.#history.length;
    const past = this.#history.slice(0, upto);
    const synced = past.findLastIndex((write) => write.synced) + 1;
    const disk = new SimulatedDisk(new Map(this.#secrets));
    const contents = this.#base.clone();
    let torn = false;
    for (const [index, { ops }] of past.entries()) {
      if (index < synced || cut.survives?.(index) === true) for (const op of ops) contents.apply(op);
      else if (!torn) {
        torn = true;
        tear(contents, ops, cut.tornOps ?? 0);
      }
    }
    disk.#base = contents;
    disk.#contents = contents.clone();
    return disk;
  }

  /** A copy of all there is: a cloned machine, or a backup. */
  clone(): SimulatedDisk {
    const disk = new SimulatedDisk(new Map(this.#secrets));
    disk.#base = this.#contents.clone();
    disk.#contents = this.#contents.clone();
    return disk;
  }

  /** Replaces the value of a key or log entry, as rot does: silently. */
  rot(place: { readonly key: string } | { readonly log: string; readonly seq: number }, value: Uint8Array): void {
    const op: Op = "key" in place ? { op: "put", ...place, value } : { op: "append", ...place, value };
    this.#contents.apply(op);
    this.#base.apply(op);
    this.rots++;
  }

  /** For the backend: takes the lock, once. */
  take(holder: object): void {
    this.check("open");
    if (this.#holder !== undefined && this.#holder !== holder) {
      throw new StorageError("LOCKED", "simulated: is in use by another backend: close it first");
    }
    this.#holder = holder;
  }

  release(): void {
    this.#holder = undefined;
  }

  check(operation: "open" | "write" | "read" | "sync"): void {
    const error = this.faults.fail?.(operation);
    if (error !== undefined) throw error;
  }

  /** For the backend. A failed sync leaves the write applied and unsynced, as a failed fdatasync does. */
  write(ops: readonly Op[], sync: boolean): void {
    this.check("write");
    const { bytesMax = Number.POSITIVE_INFINITY } = this.faults;
    if (bytesMax < Number.POSITIVE_INFINITY) {
      const added = ops.reduce((sum, op) => sum + ("value" in op ? op.value.length : 0), 0);
      const error = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      if (added > 0 && this.#contents.bytes() + added > bytesMax) throw error;
    }
    const copies = ops.map((op) => ("value" in op ? { ...op, value: op.value.slice() } : op));
    for (const op of copies) this.#contents.apply(op);
    this.#history.push({ ops: copies, synced: false });
    if (sync) this.sync();
  }

  sync(): void {
    this.check("sync");
    const last = this.#history.pop();
    if (last !== undefined) this.#history.push({ ...last, synced: true });
  }

  get contents(): MemoryContents {
    return this.#contents;
  }

  get secrets(): Map<string, Uint8Array> {
    return this.#secrets;
  }
}

function tear(contents: MemoryContents, ops: readonly Op[], count: number): void {
  for (const [index, op] of ops.entries()) {
    if (index < count) contents.apply(op);
    else if (index === count && count > 0 && "value" in op) {
      contents.apply({ ...op, value: op.value.subarray(0, op.value.length >> 1) });
    }
  }
}

class SimulatedBackend extends StorageBackend {
  override readonly name = "simulated:";
  override readonly capabilities: Capabilities = {
    durable: true,
    sync: true,
    shared: false,
    snapshotScan: false,
    cheapKeyScan: true,
    lock: "os",
    atomicOpsMax: Number.MAX_SAFE_INTEGER,
    valueBytesMax: 2 ** 31 - 1,
  };
  readonly #disk: SimulatedDisk;

  constructor(disk: SimulatedDisk) {
    super();
    this.#disk = disk;
  }

  protected override async doOpen(): Promise<void> {
    this.#disk.take(this);
  }

  protected override async doClose(): Promise<void> {
    try {
      this.#disk.sync();
    } finally {
      this.#disk.release();
    }
  }

  protected override async doSync(): Promise<void> {
    this.#disk.sync();
  }

  protected override async doWrite(ops: readonly Op[], sync: boolean): Promise<void> {
    this.#disk.write(ops, sync);
  }

  protected override async doGetMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.#disk.check("read");
    return keys.map((key) => this.#disk.contents.get(key));
  }

  protected override async *doScan(range: ScanRange): AsyncGenerator<readonly Entry[]> {
    this.#disk.check("read");
    yield* this.#disk.contents.scan(range);
  }

  protected override async *doReadLog(log: string, from: number): AsyncGenerator<readonly LogEntry[]> {
    this.#disk.check("read");
    yield* this.#disk.contents.readLog(log, from);
  }

  protected override async *doListLogs(prefix: string): AsyncGenerator<readonly LogRange[]> {
    this.#disk.check("read");
    yield* this.#disk.contents.listLogs(prefix);
  }

  protected override async doReadSecret(name: string): Promise<Uint8Array | undefined> {
    this.#disk.check("read");
    return this.#disk.secrets.get(name)?.slice();
  }

  protected override async doWriteSecret(name: string, bytes: Uint8Array): Promise<void> {
    this.#disk.check("write");
    this.#disk.secrets.set(name, bytes.slice());
  }
}
