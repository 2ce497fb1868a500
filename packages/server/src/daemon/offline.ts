/** What can be done with a data directory while no node runs on it. All fail with `LOCKED` while one does. */
import {
  type CheckReport,
  type GroupId,
  type ImportReport,
  type RepairReport,
  type StorageBackend,
  type TransferProgress,
  checkStorage,
  createGroupStore,
  exportGroups,
  importGroups,
  repairStorage,
} from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ServerError } from "../error.ts";

interface TransferOptions {
  readonly prefix?: GroupId;
  readonly onProgress?: (progress: TransferProgress) => void;
  readonly signal?: AbortSignal;
}

interface ImportDirectoryOptions extends TransferOptions {
  /** Leave groups alone that are stored with other content, instead of refusing. */
  readonly skipExisting?: boolean;
}

interface CheckDirectoryOptions {
  readonly onProgress?: (progress: { readonly groups: number }) => void;
  readonly signal?: AbortSignal;
}

/** Reads everything and changes nothing. `INVALID_OPTIONS` where no node ever ran. */
export async function checkDirectory(data: string, options: CheckDirectoryOptions = {}): Promise<CheckReport> {
  return await withBackend(await existing(data), (backend) => checkStorage(backend, options));
}

/** Repairs what can be repaired without peers; what is damaged is moved aside and never deleted. */
export async function repairDirectory(data: string, options: CheckDirectoryOptions = {}): Promise<RepairReport> {
  return await withBackend(await existing(data), (backend) => repairStorage(backend, options));
}

/** The groups as one portable stream. */
export async function* exportDirectory(data: string, options: TransferOptions = {}): AsyncGenerator<Uint8Array> {
  const storage = createGroupStore(levelStorage(await existing(data)));
  await storage.open();
  try {
    yield* exportGroups(storage, options);
  } finally {
    await storage.close();
  }
}

/** Writes an export into a directory, which may be new. Fails with `EXISTS` at a group with other content. */
export async function importDirectory(
  data: string,
  chunks: AsyncIterable<Uint8Array>,
  options: ImportDirectoryOptions = {},
): Promise<ImportReport> {
  const storage = createGroupStore(levelStorage(data));
  await storage.open();
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    return await importGroups(storage, { [Symbol.asyncIterator]: () => iterator }, options);
  } finally {
    // An import ends with the last block, before the source has noticed its own end.
    await iterator.return?.();
    await storage.close();
  }
}

async function withBackend<R>(data: string, use: (backend: StorageBackend) => Promise<R>): Promise<R> {
  const backend = levelStorage(data);
  await backend.open();
  try {
    return await use(backend);
  } finally {
    await backend.close();
  }
}

async function existing(data: string): Promise<string> {
  const found = await stat(join(data, "db")).catch(() => undefined);
  if (found === undefined) throw new ServerError("INVALID_OPTIONS", `${data} is no data directory of a node`);
  return data;
}
