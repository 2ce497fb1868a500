import { isKey, isStorageBackend, type Op, PAGE_BYTES, type StorageBackend } from "./backend.ts";
import { claim, type Claimant, hasClaim, unclaim } from "./backend-claims.ts";
import { CommitPlanner } from "./commit-planner.ts";
import { CommitQueue } from "./commit-queue.ts";
import { orDamaged, StorageError, throwIfAborted } from "./error.ts";
import { decodeGroupKey, encodeGroupId, encodeGroupPrefix, type GroupId } from "./group-id.ts";
import { corruption, type GroupReading, readGroup, type ReadingOptions } from "./group-reader.ts";
import { type GroupRecord, recordSeed } from "./group-record.ts";
import { hasRecords, readSlots, scanSlots, type SlotValues, wholeRecords } from "./group-records.ts";
import { GroupStates } from "./group-states.ts";
import { readHistory } from "./group-history.ts";
import type {
  CatalogueRow,
  Damage,
  GroupCommit,
  GroupHistory,
  GroupStorage,
  NodeRecord,
  StoredGroup,
  SupersededState,
} from "./group-storage.ts";
import { checkStoreOptions, durabilityOf, type GroupStoreOptions } from "./group-store-options.ts";
import { Lifecycle } from "./lifecycle.ts";
import { readNodeRecord, writeNodeRecord } from "./node-store.ts";
import { groupsOf, type MaybeLater, packCommit, type PackedCommit } from "./pack-commit.ts";
import { codecOf } from "./packed-body.ts";
import { tellRotten } from "./rotten-files.ts";
import { StoreEngine } from "./store-engine.ts";
import { parseJournalLog, quarantineOther, recordKey, SLOTS, SUPERSEDED_SPACE, SWEEP_SPACE } from "./store-keys.ts";
import {
  type Found,
  isAlive,
  isJournalled,
  readWhole,
  settled,
  storedGroup,
  tombstone,
  wholeGroup,
} from "./stored-group.ts";
import { decodeSuperseded, supersededKey } from "./superseded.ts";
import { sweepGroup } from "./sweep.ts";

interface PackingCommit {
  readonly packing: MaybeLater<PackedCommit>;
  readonly sync: boolean;
  readonly signal: AbortSignal | undefined;
}

interface QueuedCommit {
  readonly packed: PackedCommit;
  readonly sync: boolean;
}

/**
 * All groups of a node in one backend. Throws `INVALID_OPTIONS`, or `INVALID_ADAPTER` for what is no backend. `open`
 * fails with `LOCKED` while another store has the backend open.
 *
 * `commit` refuses with `TypeError` what does not continue the stored journal. What it holds of an epoch below the
 * stored one is superseded and left out. Commits that arrive together are written together, under one sync.
 */
export function createGroupStore(backend: StorageBackend, options: GroupStoreOptions = {}): GroupStorage {
  if (!isStorageBackend(backend)) {
    throw new StorageError("INVALID_ADAPTER", "createGroupStore needs a storage backend");
  }
  checkStoreOptions("createGroupStore", options, []);
  return new GroupStore(backend, options);
}

class GroupStore implements GroupStorage, Claimant {
  readonly #backend: StorageBackend;
  readonly #engine: StoreEngine;
  readonly #codec: ReturnType<typeof codecOf>;
  readonly #now: () => number;
  readonly #onDamage: (damage: Damage) => void;
  readonly #states: GroupStates;
  readonly #queue: CommitQueue<PackingCommit>;
  readonly #lifecycle = new Lifecycle();

  constructor(backend: StorageBackend, options: GroupStoreOptions) {
    this.#backend = backend;
    this.#engine = new StoreEngine(backend);
    this.#states = new GroupStates(this.#engine, async (key, id) => (await this.#readAndRepair(key, id, false))?.state);
    this.#codec = codecOf(options.compression ?? "auto");
    this.#now = options.now ?? Date.now;
    this.#onDamage = options.onDamage ?? (() => undefined);
    this.#queue = new CommitQueue((commits) => this.#write(commits));
  }

  durability(_id: GroupId): ReturnType<GroupStorage["durability"]> {
    return durabilityOf(this.#backend);
  }

  async open(options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#lifecycle.open(async () => {
      claim(this.#backend, this);
      try {
        await this.#backend.open(options);
        await this.#start();
      } catch (error) {
        await this.#release();
        throw error;
      }
    });
  }

  /** Whether somebody closed its backend, and so ended it. */
  get isCutOff(): boolean {
    return this.#lifecycle.status === "open" && this.#backend.status === "closed";
  }

  async #start(): Promise<void> {
    await this.#forgetAll();
    await this.#engine.tails.open();
    tellRotten(this.#backend, this.#onDamage);
    // Deletions that a crash kept from being swept.
    for await (const page of this.#backend.scan({ prefix: SWEEP_SPACE, values: false })) {
      for (const { key } of page) {
        if (isKey(key)) await this.#queue.alone(() => sweepGroup(this.#engine, key.slice(SWEEP_SPACE.length)));
      }
    }
    if (!(await hasRecords(this.#backend))) {
      this.#states.filter.complete();
      this.#engine.tails.counted(0);
    }
  }

  async commit(commit: GroupCommit, options: { sync?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    this.#checkOpen();
    const packing = packCommit(commit, this.#codec, this.#now());
    if (packing instanceof Promise) packing.catch(() => undefined);
    // Queued before it is packed: a small commit must not overtake a large one that is still being compressed.
    await this.#queue.add({ packing, sync: options.sync === true, signal: options.signal });
  }

  async load(id: GroupId, options: { signal?: AbortSignal } = {}): Promise<StoredGroup | undefined> {
    this.#checkOpen();
    throwIfAborted(options.signal);
    const key = encodeGroupId(id);
    const before = this.#queue.quiet;
    const [slots] = await readSlots(this.#engine, [key]);
    const whole = slots && (await readWhole(this.#engine, slots));
    if (whole === undefined || !isAlive(whole.group) || !this.#isQuietSince(before)) {
      return await this.#loadCarefully(key, id, { snapshot: true, slots, signal: options.signal }, before);
    }
    // What is loaded is mostly written to next.
    this.#states.set(key, whole.state);
    this.#states.trim();
    return whole.group;
  }

  /** Whether nothing was written since `quiet` was read. */
  #isQuietSince(before: number | undefined): boolean {
    return before !== undefined && this.#queue.quiet === before;
  }

  /** `before`: `quiet` before the slots were read. */
  async #loadCarefully(
    key: string,
    id: GroupId,
    options: ReadingOptions,
    before: number | undefined,
  ): Promise<StoredGroup | undefined> {
    let reading = await readGroup(this.#engine, key, id, options);
    if (reading !== undefined && (reading.repairs.length > 0 || !this.#isQuietSince(before))) {
      reading = await this.#queue.alone(() => this.#readAndRepair(key, id, true));
    } else if (reading !== undefined) {
      this.#remember(key, reading);
      this.#states.trim();
    }
    const record = reading?.record;
    if (reading === undefined || record === undefined || record.epoch % 2 === 0) return undefined;
    return await storedGroup(record, reading);
  }

  async history(id: GroupId): Promise<GroupHistory | undefined> {
    this.#checkOpen();
    const key = encodeGroupId(id);
    // In one turn: a snapshot in between would cut off what the journal reached back to.
    return await this.#queue.alone(async () => {
      const reading = await this.#readAndRepair(key, id, true);
      const record = reading?.record;
      if (reading === undefined || record === undefined || record.epoch % 2 === 0) return undefined;
      return await readHistory(this.#engine, record, await storedGroup(record, reading));
    });
  }

  async row(id: GroupId): Promise<CatalogueRow | undefined> {
    this.#checkOpen();
    const key = encodeGroupId(id);
    if (this.#states.isAbsent(recordSeed(key))) return undefined;
    const [slots] = await readSlots(this.#engine, [key]);
    return slots && (await this.#recordOf(slots));
  }

  async *listGroups(
    options: { prefix?: GroupId; deleted?: boolean; journalled?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly CatalogueRow[]> {
    const { deleted = false, journalled = false } = options;
    this.#checkOpen();
    const { journals, tails } = this.#engine;
    const before = this.#queue.quiet;
    const areNone = (): boolean => tails.areNone && this.#isQuietSince(before);
    let tailed = 0;
    const known = this.#states.filter;
    const filter = options.prefix === undefined && !known.isComplete ? known : undefined;
    for await (const page of this.#scan(options)) {
      if (journalled && !areNone()) await journals.ready();
      const rows: CatalogueRow[] = [];
      for (const slots of page) {
        const whole = wholeRecords(slots);
        filter?.add(whole?.seed ?? recordSeed(slots.key));
        const row = whole?.newest ?? (await this.#recordOf(slots));
        if (journalled && whole === undefined) await journals.ready();
        if (row === undefined || (!deleted && row.epoch % 2 === 0)) continue;
        if (journalled) row.isJournalled = !areNone() && isJournalled(this.#engine, row);
        if (row.isJournalled === true) tailed++;
        rows.push(row);
      }
      if (rows.length > 0) yield rows;
    }
    filter?.complete();
    if (journalled && options.prefix === undefined && this.#isQuietSince(before)) tails.counted(tailed);
  }

  async *loadGroups(
    options: { prefix?: GroupId; deleted?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly StoredGroup[]> {
    this.#checkOpen();
    await this.#engine.journals.ready();
    const before = this.#queue.quiet;
    for await (const page of this.#scan(options)) {
      let found: Found[] = [];
      let bytes = 0;
      for (const slots of page) {
        // What was written since the scan began may be in the journal, of which the scan shows nothing.
        const record = this.#isQuietSince(before) ? wholeRecords(slots)?.newest : undefined;
        const group = record && wholeGroup(this.#engine, record);
        const isThere = group !== undefined && !(group instanceof Promise);
        found.push(isThere ? group : this.#loadSlots(slots, group, options));
        bytes += record?.snapshotBytes ?? 0;
        if (bytes < PAGE_BYTES) continue;
        yield* settled(found, options.deleted === true);
        found = [];
        bytes = 0;
      }
      yield* settled(found, options.deleted === true);
    }
  }

  async #loadSlots(
    slots: SlotValues,
    whole: Promise<StoredGroup | undefined> | undefined,
    options: { signal?: AbortSignal },
  ): Promise<StoredGroup | undefined> {
    const group = await whole;
    if (group !== undefined) return group;
    const { id } = (await this.#recordOf(slots)) ?? {};
    if (id === undefined) return undefined;
    const loaded = await this.load(id, options);
    const row = loaded?.row ?? (await this.row(id));
    return loaded ?? (row && row.epoch % 2 === 0 ? tombstone(row) : undefined);
  }

  /** The slots of the groups, page by page. Keys that are no group's are moved aside. */
  async *#scan(options: { prefix?: GroupId; signal?: AbortSignal }): AsyncGenerator<readonly SlotValues[]> {
    const prefix = options.prefix === undefined ? "" : encodeGroupPrefix(options.prefix);
    for await (const { groups, strays } of scanSlots(this.#backend, prefix, options.signal)) {
      for (const { key, value } of strays) await this.#moveStray(key, value, "it ends with no slot");
      yield groups;
    }
  }

  async *listJournalled(options: { signal?: AbortSignal } = {}): AsyncGenerator<readonly GroupId[]> {
    this.#checkOpen();
    for await (const page of this.#backend.listLogs(options)) {
      const ids = await Promise.all(page.map(({ log, last }) => this.#journalled(log, last)));
      const found = ids.filter((id) => id !== undefined);
      if (found.length > 0) yield found;
    }
  }

  /** The id of the group that a journal belongs to, when it goes on behind the newest snapshot. */
  async #journalled(log: string, last: number): Promise<GroupId | undefined> {
    const parts = orDamaged(() => parseJournalLog(log));
    if (parts === undefined) return undefined;
    const { group, epoch } = parts;
    const [slots] = await readSlots(this.#engine, [group]);
    const record = slots && (await this.#recordOf(slots));
    return record?.epoch === epoch && epoch % 2 === 1 && last >= record.seq ? record.id : undefined;
  }

  async *listSuperseded(
    options: { id?: GroupId; signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly SupersededState[]> {
    this.#checkOpen();
    const { id, signal } = options;
    const prefix = SUPERSEDED_SPACE + (id === undefined ? "" : encodeGroupId(id));
    for await (const page of this.#backend.scan({ prefix, ...(signal && { signal }) })) {
      yield page.flatMap(({ key, value }) => orDamaged(() => decodeSuperseded(value, key)) ?? []);
    }
  }

  async removeSuperseded(id: GroupId, epoch: number): Promise<boolean> {
    this.#checkOpen();
    const key = supersededKey(encodeGroupId(id), epoch);
    if ((await this.#engine.get(key)) === undefined) return false;
    await this.#queue.alone(() => this.#engine.write([{ op: "del", key }]));
    return true;
  }

  async readNode(): Promise<NodeRecord | undefined> {
    this.#checkOpen();
    return await readNodeRecord(this.#backend, this.#onDamage);
  }

  async writeNode(record: NodeRecord): Promise<void> {
    this.#checkOpen();
    await writeNodeRecord(this.#backend, record);
  }

  async readSecret(name: string): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    return await this.#backend.readSecret(name);
  }

  async writeSecret(name: string, bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    await this.#backend.writeSecret(name, bytes);
  }

  async sync(): Promise<void> {
    this.#checkOpen();
    await this.#queue.alone(async () => undefined);
    await this.#backend.sync();
  }

  async close(): Promise<void> {
    await this.#lifecycle.close(() => this.#queue.alone(() => this.#stop()));
  }

  async #stop(): Promise<void> {
    await this.#forgetAll();
    if (!hasClaim(this.#backend, this)) return;
    // Without the mark the next start takes longer, and no more.
    if (this.#backend.status === "open") await this.#engine.tails.mark().catch(() => undefined);
    await this.#release();
  }

  async #release(): Promise<void> {
    unclaim(this.#backend);
    await this.#backend.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkOpen(): void {
    const { status } = this.#lifecycle;
    if (status !== "open")
      throw new StorageError("NOT_OPEN", `the store on ${this.#backend.name} is not open (${status})`);
  }

  /** Writes commits as one batch, or one by one where that is too large. One that is refused takes no other with it. */
  async #write(packing: readonly PackingCommit[]): Promise<readonly unknown[]> {
    const refusals: unknown[] = packing.map(() => undefined);
    const commits: (QueuedCommit | undefined)[] = [];
    for (const [index, commit] of packing.entries()) {
      try {
        throwIfAborted(commit.signal);
        const { packing: packed } = commit;
        commits.push({ packed: packed instanceof Promise ? await packed : packed, sync: commit.sync });
      } catch (error) {
        commits.push(undefined);
        refusals[index] = error;
      }
    }
    for (;;) {
      const accepted = commits.filter((_, index) => refusals[index] === undefined) as QueuedCommit[];
      await this.#states.assign(groupsOf(accepted.map(({ packed }) => packed)));
      const planner = new CommitPlanner(this.#now());
      let refused = false;
      for (const [index, commit] of commits.entries()) {
        if (commit === undefined || refusals[index] !== undefined || refused) continue;
        try {
          await planner.plan(commit.packed);
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
      try {
        await this.#apply(planner, accepted);
      } catch (error) {
        // The backend does not take so much at once.
        if (!(error instanceof TypeError) || packing.length === 1) throw error;
        for (const [index, commit] of packing.entries()) refusals[index] ??= await this.#refusal(commit);
      }
      return refusals;
    }
  }

  /** Writes a commit alone; why that was refused, if it was. */
  async #refusal(commit: PackingCommit): Promise<unknown> {
    return (await this.#write([commit]).catch((error: unknown) => [error]))[0];
  }

  async #apply(planner: CommitPlanner, commits: readonly QueuedCommit[]): Promise<void> {
    const sync = commits.some((commit) => commit.sync);
    try {
      await this.#engine.write(planner.ops, { sync });
    } catch (error) {
      // What reached the disk is unknown, so nothing that was known of these groups holds.
      this.#forget(commits);
      throw error;
    }
    this.#engine.tails.add(planner.tails);
    this.#states.trim();
    for (const key of planner.sweeps) await sweepGroup(this.#engine, key);
  }

  async #forgetAll(): Promise<void> {
    this.#states.clear();
    await this.#engine.journals.clear();
  }

  #forget(commits: readonly QueuedCommit[]): void {
    for (const groups of groupsOf(commits.map(({ packed }) => packed)))
      for (const { key } of groups) this.#states.delete(key);
  }

  /** Only in turn: nothing else may write to the group meanwhile. */
  async #readAndRepair(key: string, id: GroupId, snapshot: boolean): Promise<GroupReading | undefined> {
    const reading = await readGroup(this.#engine, key, id, { snapshot });
    this.#states.delete(key);
    if (reading === undefined) return undefined;
    if (reading.repairs.length > 0) {
      // It may have gone back to an older record, behind which the journal goes on.
      this.#engine.tails.doubt();
      await this.#engine.write(reading.repairs, { sync: true });
      for (const damage of reading.damage) this.#onDamage(damage);
    }
    if (reading.record === undefined) return undefined;
    this.#remember(key, reading);
    return reading;
  }

  /** Keeps the state of a group that was read while nothing was written. */
  #remember(key: string, { state, entries }: GroupReading): void {
    this.#states.set(key, state);
    if (entries.length > 0) this.#engine.tails.found();
  }

  /** The newest of a group's records, after repair when one is damaged; undefined when nothing is left of it. */
  async #recordOf(slots: SlotValues): Promise<GroupRecord | undefined> {
    const { key, values } = slots;
    if (values[0] === undefined && values[1] === undefined) return undefined;
    const whole = wholeRecords(slots);
    if (whole !== undefined) return whole.newest;
    let id: GroupId;
    try {
      id = decodeGroupKey(key);
    } catch (error) {
      const reason = corruption(error);
      for (const slot of SLOTS) {
        const value = values[slot];
        if (value !== undefined) await this.#moveStray(recordKey(key, slot), value, reason);
      }
      return undefined;
    }
    return (await this.#queue.alone(() => this.#readAndRepair(key, id, false)))?.record;
  }

  async #moveStray(key: string, value: Uint8Array, reason: string): Promise<void> {
    // Rot can make a key of what no caller can name.
    if (!isKey(key)) return;
    const ops: Op[] = [
      { op: "put", key: quarantineOther(key, value), value },
      { op: "del", key },
    ];
    await this.#queue.alone(() => this.#engine.write(ops, { sync: true }));
    this.#onDamage({ id: undefined, record: "catalogue", action: "quarantined", reason });
  }
}
