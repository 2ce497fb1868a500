/// <reference lib="esnext.disposable" preserve="true" />
import { isStorageBackend, type StorageBackend } from "./backend.ts";
import { checkFunctions, checkOptions } from "./check-options.ts";
import { StorageError } from "./error.ts";
import { domainOf, encodeGroupId, type GroupId } from "./group-id.ts";
import type {
  CatalogueRow,
  GroupCommit,
  GroupHistory,
  GroupStorage,
  NodeRecord,
  StoredGroup,
  SupersededState,
} from "./group-storage.ts";
import { checkStoreOptions, durabilityOf, type GroupStoreOptions } from "./group-store-options.ts";
import { createGroupStore } from "./group-store.ts";
import { Lifecycle } from "./lifecycle.ts";
import { memoryStorage } from "./memory.ts";
import { mergePages } from "./merge-pages.ts";
import {
  AUTO_SAVE_MS,
  checkAutoSave,
  writeBehind,
  WriteBehindBackend,
  type WriteBehindOptions,
} from "./write-behind.ts";

export interface DomainOptions {
  /** Where the domain's groups are stored. */
  readonly adapter: StorageBackend;
  /** Keep all of it in memory and save it periodically. Default false: every commit goes to the adapter. */
  readonly inMemory?: boolean;
  /** Only with `inMemory`: how long a commit waits to be saved at most, or "never". Default 5000. */
  readonly autoSaveMs?: number | "never";
}

/** {@link DomainOptions} with every default filled in. */
export interface DomainConfig {
  readonly adapter: StorageBackend;
  readonly inMemory: boolean;
  readonly autoSaveMs: number | "never";
  /** Whether the domain was configured, or has the default. */
  readonly configured: boolean;
}

export interface DomainsOptions extends GroupStoreOptions {
  /** For domains that are not configured, and for the node's own record and secrets. Default: memory. */
  readonly adapter?: StorageBackend;
  /** For domains with `inMemory`: see {@link WriteBehindOptions}. */
  readonly onError?: (error: Error) => void;
  readonly schedule?: WriteBehindOptions["schedule"];
}

interface Route {
  /** The adapter, or what keeps it in memory. */
  readonly backend: StorageBackend;
  readonly store: GroupStorage;
  readonly opening: Promise<void>;
  /** Set from when it is being closed on: the next use waits for that, and makes another. */
  closing: Promise<void> | undefined;
}

/** A router over backends: see {@link Domains}. Throws `INVALID_OPTIONS` or `INVALID_ADAPTER`. */
export function createDomains(options: DomainsOptions = {}): Domains {
  return new Domains(options);
}

/**
 * Routes each group to the storage of its domain: the first element of its id (see {@link domainOf}).
 *
 * `configureDomain`, `domainConfig`, `adapter`, `resetDomain` and `clear` concern configuration only and never touch
 * data; the first, and the last two, fail with `IN_USE` for a domain that is open under another configuration. An
 * adapter opens with the router, or when its domain is first used; domains may share one. A commit is atomic for the
 * groups of one adapter.
 */
export class Domains implements GroupStorage {
  readonly #options: DomainsOptions;
  readonly #fallback: DomainConfig;
  readonly #configs = new Map<string, DomainConfig>();
  readonly #routes = new Map<StorageBackend, Route>();
  readonly #lifecycle = new Lifecycle();

  constructor(options: DomainsOptions) {
    checkStoreOptions("createDomains", options, ["adapter", "onError", "schedule"]);
    const { adapter = memoryStorage(), onError, schedule } = options;
    checkFunctions({ onError, schedule });
    this.#options = options;
    this.#fallback = { ...configOf({ adapter }), configured: false };
  }

  /** Sets where a domain's groups are stored. Throws `INVALID_OPTIONS`, `INVALID_ADAPTER` or `IN_USE`. */
  configureDomain(domain: string, options: DomainOptions): void {
    checkDomain(domain);
    const config = configOf(options);
    for (const other of [...this.#configs.values(), this.#fallback]) {
      if (other.adapter === config.adapter && !sameMode(other, config) && other !== this.#configs.get(domain)) {
        throw new StorageError("INVALID_OPTIONS", "domains that share an adapter must keep it in the same way");
      }
    }
    this.#change(domain, config);
  }

  /** The options of a domain, with defaults; those of the default when it is not configured. */
  domainConfig(domain: string): DomainConfig {
    checkDomain(domain);
    return this.#configs.get(domain) ?? this.#fallback;
  }

  adapter(domain: string): StorageBackend {
    return this.domainConfig(domain).adapter;
  }

  /** Forgets a domain's configuration. Throws `IN_USE`. */
  resetDomain(domain: string): void {
    checkDomain(domain);
    this.#change(domain, undefined);
  }

  /** Forgets the configuration of every domain, or of none when one is `IN_USE`. */
  clear(): void {
    for (const domain of this.#configs.keys()) this.#checkIdle(domain, this.#fallback);
    for (const domain of this.#configs.keys()) this.resetDomain(domain);
  }

  /** Saves what a domain with `inMemory` has not saved yet. Safe when the domain is not open. */
  async flushDomain(domain: string): Promise<void> {
    const route = this.#routes.get(this.adapter(domain));
    if (route?.backend instanceof WriteBehindBackend) await route.backend.flush();
  }

  /** A barrier for one domain. Safe when the domain is not open. */
  async syncDomain(domain: string): Promise<void> {
    const route = this.#routes.get(this.adapter(domain));
    if (route !== undefined) await this.#syncRoute(route);
  }

  /** Syncs and closes a domain's adapter, and with it the domains that share it. Its next use opens it again. */
  async closeDomain(domain: string): Promise<void> {
    await this.#closeRoute(this.adapter(domain));
  }

  durability(id: GroupId): { readonly durable: boolean; readonly sync: boolean; readonly buffered?: boolean } {
    const { adapter, inMemory } = this.domainConfig(domainOf(id));
    return inMemory ? { ...durabilityOf(adapter), buffered: true } : durabilityOf(adapter);
  }

  async open(options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#lifecycle.open(async () => {
      try {
        for (const config of this.#used()) await this.#open(config, options.signal);
      } catch (error) {
        await this.#closeAll();
        throw error;
      }
    });
  }

  async commit(commit: GroupCommit, options: { sync?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    this.#checkOpen();
    const parts = new Map<DomainConfig, { -readonly [Name in keyof GroupCommit]: GroupCommit[Name] }>();
    const config = (id: GroupId): DomainConfig => this.domainConfig(domainOf(id));
    const partOf = (id: GroupId): { -readonly [Name in keyof GroupCommit]: GroupCommit[Name] } => {
      const home = this.#used().find(({ adapter }) => adapter === config(id).adapter) ?? config(id);
      const part = parts.get(home) ?? {};
      parts.set(home, part);
      return part;
    };
    for (const name of ["created", "records", "snapshots", "deletions", "superseded"] as const) {
      for (const item of commit[name] ?? []) {
        const part = partOf(item.id) as Record<string, unknown[]>;
        (part[name] ??= []).push(item);
      }
    }
    for (const id of commit.repaired ?? []) {
      const part = partOf(id) as { repaired?: GroupId[] };
      (part.repaired ??= []).push(id);
    }
    const results = await Promise.allSettled(
      [...parts].map(async ([home, part]) => (await this.#route(home)).commit(part, options)),
    );
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async load(id: GroupId, options: { signal?: AbortSignal } = {}): Promise<StoredGroup | undefined> {
    return await (await this.#storeOf(id)).load(id, options);
  }

  async history(id: GroupId): Promise<GroupHistory | undefined> {
    return await (await this.#storeOf(id)).history(id);
  }

  async row(id: GroupId): Promise<CatalogueRow | undefined> {
    return await (await this.#storeOf(id)).row(id);
  }

  async *listGroups(
    options: { prefix?: GroupId; deleted?: boolean; journalled?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly CatalogueRow[]> {
    this.#checkOpen();
    const sources = [];
    for (const { adapter } of this.#configsOf(options.prefix)) {
      const store = await this.#route(this.#configOf(adapter));
      sources.push(this.#own(adapter, store.listGroups(options), ({ id }) => id));
    }
    yield* mergePages(sources, ({ key }) => key);
  }

  async *loadGroups(
    options: { prefix?: GroupId; deleted?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly StoredGroup[]> {
    this.#checkOpen();
    const sources = [];
    for (const { adapter } of this.#configsOf(options.prefix)) {
      const store = await this.#route(this.#configOf(adapter));
      sources.push(this.#own(adapter, store.loadGroups(options), ({ row }) => row.id));
    }
    yield* mergePages(sources, ({ row }) => row.key);
  }

  async *listJournalled(options: { signal?: AbortSignal } = {}): AsyncGenerator<readonly GroupId[]> {
    this.#checkOpen();
    for (const { adapter } of this.#configsOf(undefined)) {
      const store = await this.#route(this.#configOf(adapter));
      yield* this.#own(adapter, store.listJournalled(options), (id) => id);
    }
  }

  async *listSuperseded(
    options: { id?: GroupId; signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly SupersededState[]> {
    this.#checkOpen();
    for (const { adapter } of this.#configsOf(options.id)) {
      const store = await this.#route(this.#configOf(adapter));
      yield* this.#own(adapter, store.listSuperseded(options), ({ id }) => id);
    }
  }

  async removeSuperseded(id: GroupId, epoch: number): Promise<boolean> {
    return await (await this.#storeOf(id)).removeSuperseded(id, epoch);
  }

  async readNode(): Promise<NodeRecord | undefined> {
    return await (await this.#nodeStore()).readNode();
  }

  async writeNode(record: NodeRecord): Promise<void> {
    await (await this.#nodeStore()).writeNode(record);
  }

  async readSecret(name: string): Promise<Uint8Array | undefined> {
    return await (await this.#nodeStore()).readSecret(name);
  }

  async writeSecret(name: string, bytes: Uint8Array): Promise<void> {
    await (await this.#nodeStore()).writeSecret(name, bytes);
  }

  async sync(): Promise<void> {
    this.#checkOpen();
    await Promise.all([...this.#routes.values()].map((route) => this.#syncRoute(route)));
  }

  async close(): Promise<void> {
    await this.#lifecycle.close(() => this.#closeAll());
  }

  async #closeAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#routes.keys()].map((adapter) => this.#closeRoute(adapter)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkOpen(): void {
    const { status } = this.#lifecycle;
    if (status !== "open") throw new StorageError("NOT_OPEN", `the storage domains are not open (${status})`);
  }

  #change(domain: string, config: DomainConfig | undefined): void {
    this.#checkIdle(domain, config ?? this.#fallback);
    if (config === undefined) this.#configs.delete(domain);
    else this.#configs.set(domain, config);
  }

  /** A domain must not move while its adapter is open: what was stored would seem lost. */
  #checkIdle(domain: string, next: DomainConfig): void {
    const now = this.domainConfig(domain);
    if (now.adapter === next.adapter && sameMode(now, next)) return;
    if (!now.configured || !this.#routes.has(now.adapter)) return;
    throw new StorageError("IN_USE", `domain ${JSON.stringify(domain)} is open: close it with closeDomain first`);
  }

  #configOf(adapter: StorageBackend): DomainConfig {
    return this.#used().find((config) => config.adapter === adapter) ?? this.#fallback;
  }

  /** One configuration for each adapter in use. */
  #used(): DomainConfig[] {
    const byAdapter = new Map<StorageBackend, DomainConfig>([[this.#fallback.adapter, this.#fallback]]);
    for (const config of this.#configs.values()) byAdapter.set(config.adapter, config);
    return [...byAdapter.values()];
  }

  #configsOf(prefix: GroupId | undefined): DomainConfig[] {
    const everywhere = prefix === undefined || (typeof prefix !== "string" && prefix.length === 0);
    return everywhere ? this.#used() : [this.domainConfig(domainOf(prefix))];
  }

  async #storeOf(id: GroupId): Promise<GroupStorage> {
    encodeGroupId(id);
    return await this.#route(this.domainConfig(domainOf(id)));
  }

  async #nodeStore(): Promise<GroupStorage> {
    return await this.#route(this.domainConfig(""));
  }

  async #route(config: DomainConfig): Promise<GroupStorage> {
    this.#checkOpen();
    return await this.#open(config);
  }

  /** The store on a configuration's adapter, once it is open. */
  async #open(config: DomainConfig, signal?: AbortSignal): Promise<GroupStorage> {
    let route = this.#routes.get(config.adapter);
    while (route?.closing !== undefined) {
      await route.closing.catch(() => undefined);
      route = this.#routes.get(config.adapter);
    }
    route ??= this.#makeRoute(config, signal);
    try {
      await route.opening;
    } catch (error) {
      this.#forget(config.adapter, route);
      throw error;
    }
    return route.store;
  }

  #makeRoute({ adapter, inMemory, autoSaveMs }: DomainConfig, signal: AbortSignal | undefined): Route {
    const { adapter: _, onError, schedule, ...options } = this.#options;
    const behind = { autoSaveMs, ...(onError && { onError }), ...(schedule && { schedule }) };
    const backend = inMemory ? writeBehind(adapter, behind) : adapter;
    const store = createGroupStore(backend, options);
    const route = { backend, store, opening: store.open({ ...(signal && { signal }) }), closing: undefined };
    this.#routes.set(adapter, route);
    return route;
  }

  #forget(adapter: StorageBackend, route: Route): void {
    if (this.#routes.get(adapter) === route) this.#routes.delete(adapter);
  }

  async #closeRoute(adapter: StorageBackend): Promise<void> {
    const route = this.#routes.get(adapter);
    if (route === undefined) return;
    route.closing ??= (async () => {
      await route.opening.catch(() => undefined);
      try {
        await route.store.close();
      } finally {
        this.#forget(adapter, route);
      }
    })();
    await route.closing;
  }

  /** Closing syncs, and where opening failed there is nothing to sync. */
  async #syncRoute({ store, opening, closing }: Route): Promise<void> {
    if (closing !== undefined) return await closing;
    const isOpen = await opening.then(
      () => true,
      () => false,
    );
    if (isOpen) await store.sync();
  }

  /** Leaves out what an adapter still has of domains that are stored elsewhere now. */
  async *#own<Item>(
    adapter: StorageBackend,
    pages: AsyncIterable<readonly Item[]>,
    idOf: (item: Item) => GroupId,
  ): AsyncGenerator<readonly Item[]> {
    for await (const page of pages) {
      const own = page.filter((item) => this.adapter(domainOf(idOf(item))) === adapter);
      if (own.length > 0) yield own;
    }
  }
}

function sameMode(a: DomainConfig, b: DomainConfig): boolean {
  return a.inMemory === b.inMemory && a.autoSaveMs === b.autoSaveMs;
}

function checkDomain(domain: string): void {
  if (typeof domain !== "string") throw new TypeError(`a domain is a string, not ${typeof domain}`);
}

function configOf(options: DomainOptions): DomainConfig {
  checkOptions("a domain", options, ["adapter", "inMemory", "autoSaveMs"]);
  const { adapter, inMemory = false, autoSaveMs } = options;
  if (!isStorageBackend(adapter)) {
    throw new StorageError("INVALID_ADAPTER", "an adapter is a StorageBackend, for example levelStorage(directory)");
  }
  if (typeof inMemory !== "boolean") throw new StorageError("INVALID_OPTIONS", "inMemory is true or false");
  if (!inMemory) {
    if (autoSaveMs !== undefined) throw new StorageError("INVALID_OPTIONS", "autoSaveMs goes with inMemory only");
    return { adapter, inMemory, autoSaveMs: "never", configured: true };
  }
  checkAutoSave(autoSaveMs ?? AUTO_SAVE_MS);
  return { adapter, inMemory, autoSaveMs: autoSaveMs ?? AUTO_SAVE_MS, configured: true };
}
