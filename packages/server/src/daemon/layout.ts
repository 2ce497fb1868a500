/**
 * Where a node's groups are stored: by default all in `db/` of its data directory, and single domains elsewhere when
 * they are configured so. A node leaves its layout in `storage.json`, so that commands find everything while it does
 * not run.
 */
import {
  type Damage,
  type DomainOptions,
  type Domains,
  type StorageBackend,
  StorageError,
  createDomains,
} from "@coppice/storage";
import { type StorageTarget, parseStorageTarget, resolveStorage } from "@coppice/storage/registry";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ServerError } from "../error.ts";
import type { DomainSettings } from "./domain-settings.ts";
import type { StorageObject } from "./setting-kinds.ts";

const FILE = "storage.json";
const PRIVATE = 0o600;
/** Their location is a path, which must mean the same from every working directory. */
const PATH_SCHEMES: ReadonlySet<string> = new Set(["level", "lmdb", "sqlite"]);

/** How one domain is stored. */
export interface DomainPlace {
  readonly storage: StorageTarget;
  readonly inMemory: boolean;
  readonly autoSaveMs?: number | "never";
}

export interface Layout {
  /** For domains without a place of their own; undefined for the data directory. */
  readonly storage: StorageTarget | undefined;
  readonly domains: ReadonlyMap<string, DomainPlace>;
}

/** Everything in the data directory. */
export const PLAIN_LAYOUT: Layout = { storage: undefined, domains: new Map() };

/** The layout that settings ask for. Throws `INVALID_OPTIONS`, naming the setting. */
export function layoutOf(
  data: string,
  settings: { readonly storage?: string | StorageObject; readonly domains: ReadonlyMap<string, DomainSettings> },
): Layout {
  const storage = settings.storage === undefined ? undefined : readTarget(settings.storage, "storage");
  const domains = new Map<string, DomainPlace>();
  for (const [name, { storage: own, inMemory = false, autoSave }] of settings.domains) {
    if (own === undefined && !inMemory) continue;
    const target = own === undefined ? ownDirectory(data, name) : readTarget(own, `domains.${name}.storage`);
    const autoSaveMs =
      autoSave === undefined ? {} : { autoSaveMs: autoSave === false ? ("never" as const) : autoSave * 1000 };
    domains.set(name, { storage: target, inMemory, ...autoSaveMs });
  }
  const layout = { storage, domains };
  checkShared(homeOf(data, layout), domains);
  return layout;
}

/** Where domains without a place of their own are stored, and what the node keeps about itself. */
function homeOf(data: string, { storage }: Layout): StorageTarget {
  return storage ?? { scheme: "level", location: resolve(data) };
}

/** A domain that is kept in memory cannot share the storage of others: it saves all of it at once. */
function ownDirectory(data: string, domain: string): StorageTarget {
  const name = domain === "" ? "%" : encodeURIComponent(domain).replaceAll(".", "%2E");
  return { scheme: "level", location: resolve(data, "domains", name) };
}

function readTarget(given: string | StorageObject, where: string): StorageTarget {
  let target: StorageTarget;
  try {
    target = parseStorageTarget(given);
  } catch (cause) {
    if (!(cause instanceof StorageError)) throw cause;
    throw new ServerError("INVALID_OPTIONS", `${where}: ${cause.message}`, { cause });
  }
  const { scheme, location = "" } = target;
  return PATH_SCHEMES.has(scheme) && location !== "" ? { ...target, location: resolve(location) } : target;
}

function checkShared(fallback: StorageTarget, domains: ReadonlyMap<string, DomainPlace>): void {
  const modes = new Map([
    [keyOf(fallback), { name: "the node", mode: modeOf({ storage: fallback, inMemory: false }) }],
  ]);
  for (const [name, place] of domains) {
    const key = keyOf(place.storage);
    const other = modes.get(key);
    if (other !== undefined && other.mode !== modeOf(place)) {
      throw new ServerError(
        "INVALID_OPTIONS",
        `domains.${name}.storage is also where ${other.name} stores, which keeps it in another way: ` +
          `give both the same inMemory and autoSave, or domains.${name}.storage a place of its own`,
      );
    }
    modes.set(key, { name: `domains.${name}`, mode: modeOf(place) });
  }
}

function modeOf({ inMemory, autoSaveMs }: DomainPlace): string {
  return `${inMemory} ${autoSaveMs ?? ""}`;
}

/** Equal for targets that name the same storage. */
function keyOf(target: StorageTarget): string {
  return JSON.stringify(Object.entries(target).toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

/** The storage of a layout, closed. Domains that name the same storage share it. */
export async function createStorage(
  data: string,
  layout: Layout,
  options: { readonly onDamage?: (damage: Damage) => void; readonly onError?: (error: Error) => void } = {},
): Promise<Domains> {
  const backends = new Map<string, StorageBackend>();
  const backendOf = async (target: StorageTarget, where: string): Promise<StorageBackend> => {
    const key = keyOf(target);
    const backend = backends.get(key) ?? (await makeBackend(target, where));
    backends.set(key, backend);
    return backend;
  };
  const domains = createDomains({ ...options, adapter: await backendOf(homeOf(data, layout), "storage") });
  for (const [name, { storage, inMemory, autoSaveMs }] of layout.domains) {
    const own: DomainOptions = { adapter: await backendOf(storage, `domains.${name}.storage`), inMemory };
    domains.configureDomain(name, autoSaveMs === undefined ? own : { ...own, autoSaveMs });
  }
  return domains;
}

async function makeBackend(target: StorageTarget, where: string): Promise<StorageBackend> {
  try {
    return await resolveStorage(target);
  } catch (cause) {
    if (!(cause instanceof StorageError)) throw cause;
    throw new ServerError("INVALID_OPTIONS", `${where}: ${cause.message}`, { cause });
  }
}

/** Every backend of a layout, closed, each once; the first is that of the node itself. */
export async function backendsOf(data: string, layout: Layout): Promise<readonly StorageBackend[]> {
  const home = homeOf(data, layout);
  const targets = new Map([[keyOf(home), home]]);
  for (const { storage } of layout.domains.values()) targets.set(keyOf(storage), storage);
  return await Promise.all([...targets.values()].map((target) => resolveStorage(target)));
}

/** The layout of the last start; undefined when no node ever ran on the directory. Throws `INVALID_OPTIONS`. */
export async function readLayout(data: string): Promise<Layout | undefined> {
  const path = join(data, FILE);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { storage, domains } = JSON.parse(text) as {
      readonly storage?: StorageTarget;
      readonly domains?: Readonly<Record<string, DomainPlace>>;
    };
    return { storage, domains: new Map(Object.entries(domains ?? {})) };
  } catch (cause) {
    throw new ServerError("INVALID_OPTIONS", `${path} is damaged; a start of the node writes it anew`, { cause });
  }
}

/** Written whole or not at all. */
export async function writeLayout(data: string, { storage, domains }: Layout): Promise<void> {
  const path = join(data, FILE);
  const draft = `${path}.${process.pid}`;
  const text = JSON.stringify({ storage, domains: Object.fromEntries(domains) }, undefined, 2);
  await writeFile(draft, `${text}\n`, { mode: PRIVATE });
  await rename(draft, path);
}

/** What is stored elsewhere than at the last start, in words: groups stored there before are not seen any more. */
export function movedStorages(data: string, before: Layout, now: Layout): readonly string[] {
  const place = (layout: Layout, name: string): StorageTarget => {
    return layout.domains.get(name)?.storage ?? homeOf(data, layout);
  };
  const tell = (what: string, from: StorageTarget, to: StorageTarget): string[] => {
    return keyOf(from) === keyOf(to)
      ? []
      : [`${what} is stored in ${nameOf(to)}, at the last start in ${nameOf(from)}`];
  };
  const names = new Set([...before.domains.keys(), ...now.domains.keys()]);
  return [
    ...tell("what the node keeps itself, its identity among it,", homeOf(data, before), homeOf(data, now)),
    ...[...names].flatMap((name) => tell(`domain ${name}`, place(before, name), place(now, name))),
  ];
}

/** Other schemes than ours may have credentials in what follows. */
function nameOf({ scheme, location = "" }: StorageTarget): string {
  return PATH_SCHEMES.has(scheme) ? `${scheme}:${location}` : scheme;
}

/**
 * Throws `LOCKED` when a node still runs with the storage of the last start: where that is another than now, its lock does
 * not keep a second node out of the data directory.
 */
export async function checkFormerHome(data: string, before: Layout, now: Layout): Promise<void> {
  const former = homeOf(data, before);
  if (keyOf(former) === keyOf(homeOf(data, now))) return;
  const backend = await resolveStorage(former).catch(() => undefined);
  try {
    await backend?.open();
  } catch (error) {
    if (!(error instanceof StorageError && error.code === "LOCKED")) return;
    const advice = "stop it first, or take another directory";
    const message = `${data} is in use by a node that stores in ${nameOf(former)}: ${advice}`;
    throw new StorageError("LOCKED", message, { cause: error });
  } finally {
    await backend?.close();
  }
}
