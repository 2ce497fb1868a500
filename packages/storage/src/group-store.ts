import { isStorageBackend, type Op, PAGE_ENTRIES_MAX, type StorageBackend } from "./backend.ts";
import { catalogueRow, decodeRow, type StoredRow } from "./catalogue-row.ts";
import { CommitPlanner, type PackedCommit } from "./commit-planner.ts";
import { CommitQueue } from "./commit-queue.ts";
import { StorageError, throwIfAborted } from "./error.ts";
import { decodeGroupKey, encodeGroupId, encodeGroupPrefix, type GroupId } from "./group-id.ts";
import { type GroupReading, corruption, readGroup } from "./group-reader.ts";
import { type GroupState, StateCache, stateOf } from "./group-state.ts";
import type { CatalogueRow, Damage, GroupCommit, GroupStorage, NodeRecord, StoredGroup } from "./group-storage.ts";
import { readNodeRecord, writeNodeRecord } from "./node-store.ts";
import { packCommit } from "./pack-commit.ts";
import { type Compression, codecOf } from "./packed-body.ts";
import { StoreEngine } from "./store-engine.ts";
import { journalLog, parseJournalLog, quarantineOther, ROW_SPACE, rowKey, SWEEP_SPACE } from "./store-keys.ts";
import { readWhole, storedGroup } from "./stored-group.ts";
import { sweepGroup } from "./sweep.ts";
import { WriteBehindBackend } from "./write-behind.ts";

export interface GroupStoreOptions {
  /** How to store bodies of 1 KiB and more. Default "auto". */
  readonly compression?: Compression;
  /** The wall clock, in Unix milliseconds. Default `Date.now`. */
  readonly now?: () => number;
  /** Told of everything found damaged, also by methods that return no damage. Must not throw. */
  readonly onDamage?: (damage: Damage) => void;
}

interface PackingCommit {
  readonly packing: Promise<PackedCommit>;
  readonly sync: boolean;
  readonly signal: AbortSignal | undefined;
}

interface QueuedCommit {
  readonly packed: PackedCommit;
  readonly sync: boolean;
}

/**
 * All groups of a node in one backend. Throws `INVALID_OPTIONS`, or `INVALID_ADAPTER` for what is no backend.
 *
 * `commit` refuses with `TypeError` what does not continue the stored journal. What it holds of an epoch below the
 * stored one is superseded and left out. Commits that arrive together are written together, under one sync.
 */
export function createGroupStore(backend: StorageBackend, options: GroupStoreOptions = {}): GroupStorage {
  if (!isStorageBackend(backend)) {
    throw new StorageError("INVALID_ADAPTER", "createGroupStore needs a storage backend");
  }
  return new GroupStore(backend, options);
}

class GroupStore implements GroupStorage {
  readonly #backend: StorageBackend;
  readonly #engine: StoreEngine;
  readonly #codec: ReturnType<typeof codecOf>;
  readonly #now: () => number;
  readonly #onDamage: (damage: Damage) => void;
  readonly #states = new StateCache();
  readonly #queue: CommitQueue<PackingCommit>;

  constructor(backend: StorageBackend, options: GroupStoreOptions) {
    this.#backend = backend;
    this.#engine = new StoreEngine(backend);
    this.#codec = codecOf(options.compression ?? "auto");
    this.#now = options.now ?? Date.now;
    this.#onDamage = options.onDamage ?? (() => undefined);
    this.#queue = new CommitQueue((commits) => this.#write(commits));
  }

  durability(_id: GroupId): { readonly durable: boolean; readonly sync: boolean; readonly buffered?: boolean } {
    const { durable, sync } = this.#backend.capabilities;
    return this.#backend instanceof WriteBehindBackend ? { durable, sync, buffered: true } : { durable, sync };
  }

  async open(options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#backend.open(options);
    this.#forgetAll();
    try {
      // Deletions that a crash kept from being swept.
      for await (const page of this.#backend.scan({ prefix: SWEEP_SPACE, values: false })) {
        for (const { key } of page) await this.#queue.alone(() => sweepGroup(this.#engine, key.slice(1)));
      }
    } catch (error) {
      await this.#backend.close();
      throw error;
    }
  }

  async commit(commit: GroupCommit, options: { sync?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    this.#checkOpen();
    const packing = packCommit(commit, this.#codec);
    packing.catch(() => undefined);
    // Queued before it is packed: a small commit must not overtake a large one that is still being compressed.
    await this.#queue.add({ packing, sync: options.sync === true, signal: options.signal });
  }

  async load(id: GroupId, options: { signal?: AbortSignal } = {}): Promise<StoredGroup | undefined> {
    const key = encodeGroupId(id);
    const before = this.#queue.quiet;
    const whole = await readWhole(this.#engine, key, id);
    if (whole !== undefined && before !== undefined && this.#queue.quiet === before) return whole;
    return await this.#loadCarefully(key, id, options);
  }

  async #loadCarefully(key: string, id: GroupId, options: { signal?: AbortSignal }): Promise<StoredGroup | undefined> {
    const before = this.#queue.quiet;
    let reading = await readGroup(this.#engine, key, id, { snapshot: true, signal: options.signal });
    const settled = before !== undefined && this.#queue.quiet === before;
    if (reading !== undefined && (reading.repairs.length > 0 || !settled)) {
      reading = await this.#queue.alone(() => this.#readAndRepair(key, id, true));
    } else if (reading !== undefined) this.#states.set(key, reading.state);
    const row = reading?.row;
    if (reading === undefined || row === undefined || row.meta.epoch % 2 === 0) return undefined;
    return await storedGroup(id, row, reading);
  }

  async row(id: GroupId): Promise<CatalogueRow | undefined> {
    const key = encodeGroupId(id);
    const bytes = await this.#engine.get(rowKey(key));
    const row = bytes && (await this.#rowOf(key, id, bytes));
    return row && catalogueRow(id, row);
  }

  async *listGroups(
    options: { prefix?: GroupId; deleted?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly CatalogueRow[]> {
    const { prefix, deleted = false, signal } = options;
    const scan = { prefix: ROW_SPACE + (prefix === undefined ? "" : encodeGroupPrefix(prefix)) };
    for await (const page of this.#backend.scan({ ...scan, ...(signal && { signal }) })) {
      const rows: CatalogueRow[] = [];
      for (const { key, value } of page) {
        const row = wholeRow(key, value) ?? (await this.#damagedRow(key.slice(ROW_SPACE.length), value));
        if (row !== undefined && (deleted || row.epoch % 2 === 1)) rows.push(row);
      }
      if (rows.length > 0) yield rows;
    }
  }

  async *listJournalled(options: { signal?: AbortSignal } = {}): AsyncGenerator<readonly GroupId[]> {
    this.#checkOpen();
    await this.#engine.journals.ready();
    const logs = [...this.#engine.journals.logs()];
    for (let at = 0; at < logs.length; at += PAGE_ENTRIES_MAX) {
      throwIfAborted(options.signal);
      const page = logs.slice(at, at + PAGE_ENTRIES_MAX);
      const ids = await Promise.all(page.map(([log, last]) => this.#journalled(log, last)));
      const found = ids.filter((id) => id !== undefined);
      if (found.length > 0) yield found;
    }
  }

  /** The id of the group that a journal belongs to, when it goes on behind the newest snapshot. */
  async #journalled(log: string, last: number): Promise<GroupId | undefined> {
    const { group, epoch } = parseJournalLog(log);
    const value = await this.#engine.get(rowKey(group));
    if (value === undefined) return undefined;
    const id = decodeGroupKey(group);
    const row = await this.#rowOf(group, id, value);
    const alive = row !== undefined && row.meta.epoch === epoch && epoch % 2 === 1;
    return alive && last >= row.newest.seq ? id : undefined;
  }

  async readNode(): Promise<NodeRecord | undefined> {
    return await readNodeRecord(this.#backend, this.#onDamage);
  }

  async writeNode(record: NodeRecord): Promise<void> {
    await writeNodeRecord(this.#backend, record);
  }

  async readSecret(name: string): Promise<Uint8Array | undefined> {
    return await this.#backend.readSecret(name);
  }

  async writeSecret(name: string, bytes: Uint8Array): Promise<void> {
    await this.#backend.writeSecret(name, bytes);
  }

  async sync(): Promise<void> {
    this.#checkOpen();
    await this.#queue.alone(async () => undefined);
    await this.#backend.sync();
  }

  async close(): Promise<void> {
    await this.#queue.alone(async () => {
      await this.#backend.close();
      this.#forgetAll();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkOpen(): void {
    if (this.#backend.status === "open") return;
    throw new StorageError("NOT_OPEN", `the store on ${this.#backend.name} is not open`);
  }

  /** Writes commits as one batch. One that is refused takes no other with it. */
  async #write(packing: readonly PackingCommit[]): Promise<readonly unknown[]> {
    const refusals: unknown[] = packing.map(() => undefined);
    const commits: (QueuedCommit | undefined)[] = [];
    for (const [index, commit] of packing.entries()) {
      try {
        throwIfAborted(commit.signal);
        commits.push({ packed: await commit.packing, sync: commit.sync });
      } catch (error) {
        commits.push(undefined);
        refusals[index] = error;
      }
    }
    for (;;) {
      const accepted = commits.filter((_, index) => refusals[index] === undefined) as QueuedCommit[];
      const planner = new CommitPlanner(await this.#statesFor(accepted), this.#now());
      let refused = false;
      for (const [index, commit] of commits.entries()) {
        if (commit === undefined || refusals[index] !== undefined || refused) continue;
        try {
          planner.plan(commit.packed);
        } catch (error) {
          refusals[index] = error;
          refused = true;
        }
      }
      if (refused) {
        // What the refused commit had planned is in the states already: read them anew, plan without it.
        this.#forget(accepted);
        continue;
      }
      await this.#apply(planner, accepted);
      return refusals;
    }
  }

  async #apply(planner: CommitPlanner, commits: readonly QueuedCommit[]): Promise<void> {
    const sync = commits.some((commit) => commit.sync);
    try {
      await this.#engine.write(planner.ops, { sync });
    } catch (error) {
      this.#forget(commits);
      throw error;
    }
    for (const [key, state] of planner.states()) this.#states.set(key, state);
    for (const key of planner.sweeps) await sweepGroup(this.#engine, key);
  }

  async #statesFor(commits: readonly QueuedCommit[]): Promise<Map<string, GroupState | undefined>> {
    const states = new Map<string, GroupState | undefined>();
    const missing: { readonly id: GroupId; readonly key: string }[] = [];
    for (const group of groupsOf(commits)) {
      if (states.has(group.key)) continue;
      const cached = this.#states.get(group.key);
      states.set(group.key, cached);
      if (cached === undefined) missing.push(group);
    }
    await this.#engine.journals.ready();
    const rows = await this.#backend.getMany(missing.map(({ key }) => rowKey(key)));
    for (const [index, { id, key }] of missing.entries()) {
      const bytes = rows[index];
      if (bytes === undefined) continue;
      const state = this.#wholeState(key, bytes) ?? (await this.#readAndRepair(key, id, false))?.state;
      states.set(key, state);
    }
    return states;
  }

  /** The state of a group that a whole row and no journal behind its newest snapshot tell all of. */
  #wholeState(key: string, bytes: Uint8Array): GroupState | undefined {
    try {
      const row = decodeRow(bytes, rowKey(key));
      const last = this.#engine.journals.last(journalLog(key, row.meta.epoch));
      return last < row.newest.seq ? stateOf(row) : undefined;
    } catch (error) {
      corruption(error);
      return undefined;
    }
  }

  #forgetAll(): void {
    this.#states.clear();
    this.#engine.journals.clear();
  }

  #forget(commits: readonly QueuedCommit[]): void {
    for (const { key } of groupsOf(commits)) this.#states.delete(key);
  }

  /** Only in turn: nothing else may write to the group meanwhile. */
  async #readAndRepair(key: string, id: GroupId, snapshot: boolean): Promise<GroupReading | undefined> {
    const reading = await readGroup(this.#engine, key, id, { snapshot });
    this.#states.delete(key);
    if (reading === undefined) return undefined;
    if (reading.repairs.length > 0) {
      await this.#engine.write(reading.repairs, { sync: true });
      for (const damage of reading.damage) this.#onDamage(damage);
    }
    if (reading.row === undefined) return undefined;
    this.#states.set(key, reading.state);
    return reading;
  }

  async #rowOf(key: string, id: GroupId, bytes: Uint8Array): Promise<StoredRow | undefined> {
    try {
      return decodeRow(bytes, rowKey(key));
    } catch (error) {
      corruption(error);
      return (await this.#queue.alone(() => this.#readAndRepair(key, id, false)))?.row;
    }
  }

  async #damagedRow(group: string, value: Uint8Array): Promise<CatalogueRow | undefined> {
    const id = await this.#idOf(group, value);
    if (id === undefined) return undefined;
    const row = await this.#rowOf(group, id, value);
    return row && catalogueRow(id, row);
  }

  /** The id of a listed key; a damaged key is moved aside. */
  async #idOf(group: string, value: Uint8Array): Promise<GroupId | undefined> {
    try {
      return decodeGroupKey(group);
    } catch (error) {
      const reason = corruption(error);
      const key = rowKey(group);
      const ops: Op[] = [
        { op: "put", key: quarantineOther(key, value), value },
        { op: "del", key },
      ];
      await this.#queue.alone(() => this.#engine.write(ops, { sync: true }));
      this.#onDamage({ id: undefined, record: "catalogue", action: "quarantined", reason });
      return undefined;
    }
  }
}

function* groupsOf(commits: readonly QueuedCommit[]): Iterable<{ readonly id: GroupId; readonly key: string }> {
  for (const { packed } of commits) {
    yield* packed.created;
    yield* packed.records;
    yield* packed.snapshots;
    yield* packed.repaired;
    yield* packed.deletions;
  }
}

/** A listed row, unless its key or its value is damaged. */
function wholeRow(key: string, value: Uint8Array): CatalogueRow | undefined {
  try {
    return catalogueRow(decodeGroupKey(key.slice(ROW_SPACE.length)), decodeRow(value, key));
  } catch (error) {
    corruption(error);
    return undefined;
  }
}
