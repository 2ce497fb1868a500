import { isStorageBackend, type StorageBackend } from "../backend.ts";
import { StorageError } from "../error.ts";
import { memoryStorage } from "../memory.ts";

/** Where to store, as an object: the scheme, where, and what else the backend takes. */
export interface StorageTarget {
  readonly scheme: string;
  /** A directory, a file, an address: what stands behind the scheme in a URI. Default "". */
  readonly location?: string;
  readonly [option: string]: unknown;
}

/** Makes a closed backend. Fails with `INVALID_OPTIONS` for what it does not know. */
export type StorageFactory = (
  location: string,
  options: Readonly<Record<string, unknown>>,
) => StorageBackend | Promise<StorageBackend>;

const SCHEME = /^[a-z][a-z0-9+.-]+$/;
const URI = /^([a-z][a-z0-9+.-]+):(?:\/\/)?([^?]*)(?:\?(.*))?$/s;

const lmdb: StorageFactory = async (location, options) => {
  const { lmdbStorage } = await import("../lmdb/index.ts").catch((cause: unknown) => {
    throw new StorageError("INVALID_OPTIONS", "lmdb: needs the package lmdb: install it beside this one", { cause });
  });
  return lmdbStorage(location, options);
};

// Loaded on first use, so that a program carries and starts only the engines that it names.
const factories = new Map<string, StorageFactory>([
  [
    "memory",
    (location, options) => {
      if (location !== "" || Object.keys(options).length > 0) {
        throw new StorageError("INVALID_OPTIONS", "memory: takes neither a location nor options");
      }
      return memoryStorage();
    },
  ],
  ["level", async (location, options) => (await import("../level/index.ts")).levelStorage(location, options)],
  ["lmdb", lmdb],
  ["sqlite", async (location, options) => (await import("../sqlite/index.ts")).sqliteStorage(location, options)],
]);

/** The schemes that {@link openStorage} knows. */
export function storageSchemes(): readonly string[] {
  return [...factories.keys()].sort();
}

/**
 * Adds a scheme: 2 or more characters of `a-z`, `0-9`, `+`, `.` and `-` (one letter is a drive on Windows).
 * Throws `TypeError` for another name and for a scheme that is there already.
 */
export function registerStorageScheme(scheme: string, factory: StorageFactory): void {
  if (!SCHEME.test(scheme)) throw new TypeError(`not a scheme: ${JSON.stringify(scheme)}`);
  if (typeof factory !== "function") throw new TypeError(`the scheme ${scheme}: needs a function that makes a backend`);
  if (factories.has(scheme)) throw new TypeError(`the scheme ${scheme}: is registered already`);
  factories.set(scheme, factory);
}

/**
 * A closed backend for a URI (`memory:`, `level:./data?cacheBytes=1048576`), a directory (LevelDB), an options object
 * (`{ scheme: "level", location: "./data" }`), or such an object as JSON.
 *
 * In the query of a URI, numbers, `true` and `false` are read as such. Credentials belong into the environment.
 * Fails with `INVALID_OPTIONS`, also for a scheme that nobody registered.
 */
export async function resolveStorage(target: string | StorageTarget): Promise<StorageBackend> {
  const { scheme, location = "", ...options } = parseStorageTarget(target);
  const factory = factories.get(scheme);
  if (factory === undefined) {
    const known = storageSchemes().join(", ");
    throw new StorageError("INVALID_OPTIONS", `no storage scheme ${JSON.stringify(scheme)}: there are ${known}`);
  }
  const backend = await factory(location, options);
  if (!isStorageBackend(backend)) {
    throw new StorageError("INVALID_ADAPTER", `the scheme ${scheme}: did not make a storage backend`);
  }
  return backend;
}

/** What a URI, a directory, or an object as JSON names, as an object. Throws `INVALID_OPTIONS`. */
export function parseStorageTarget(target: string | StorageTarget): StorageTarget {
  return typeof target === "string" ? parseText(target) : checkTarget(target);
}

/** {@link resolveStorage}, and opens the backend. Fails with `LOCKED` when another process has it open. */
export async function openStorage(
  target: string | StorageTarget,
  options: { signal?: AbortSignal } = {},
): Promise<StorageBackend> {
  const backend = await resolveStorage(target);
  await backend.open(options);
  return backend;
}

function parseText(text: string): StorageTarget {
  if (text.startsWith("{")) return parseJson(text);
  if (text === "") throw new StorageError("INVALID_OPTIONS", "an empty string names no storage");
  const match = URI.exec(text);
  if (match === null && factories.has(text)) {
    const advice = text === "memory" ? "memory:" : `${text}:./data`;
    throw new StorageError(
      "INVALID_OPTIONS",
      `${text} is a storage scheme: write ${advice}, or ./${text} for a directory`,
    );
  }
  if (match === null) return { scheme: "level", location: text };
  const [, scheme = "", location = "", query = ""] = match;
  const options: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === "scheme" || name === "location" || name in options) {
      throw new StorageError("INVALID_OPTIONS", `${scheme}: was given ${JSON.stringify(name)} twice`);
    }
    options[name] = parseValue(value);
  }
  return { ...options, scheme, location: decode(location) };
}

function parseJson(text: string): StorageTarget {
  let value: StorageTarget;
  try {
    value = JSON.parse(text) as StorageTarget;
  } catch (cause) {
    throw new StorageError("INVALID_OPTIONS", "storage options that are no JSON", { cause });
  }
  return checkTarget(value);
}

function checkTarget(target: StorageTarget): StorageTarget {
  const { scheme, location } = (target ?? {}) as { readonly scheme?: unknown; readonly location?: unknown };
  if (typeof scheme === "string" && (location === undefined || typeof location === "string")) return target;
  throw new StorageError("INVALID_OPTIONS", 'storage options need a "scheme", and a "location" that is a string');
}

function decode(location: string): string {
  try {
    return decodeURIComponent(location);
  } catch (cause) {
    throw new StorageError("INVALID_OPTIONS", `not a location: ${JSON.stringify(location)}`, { cause });
  }
}

function parseValue(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}
