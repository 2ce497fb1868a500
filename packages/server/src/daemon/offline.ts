/** What can be done with a data directory while no node runs on it. All fail with `LOCKED` while one does. */
import {
  type CheckReport,
  type Domains,
  type GroupId,
  type ImportReport,
  type RepairReport,
  type StorageBackend,
  StorageError,
  type TransferProgress,
  checkStorage,
  domainOf,
  exportGroups,
  formatGroupId,
  importGroups,
  repairStorage,
} from "@coppice/storage";
import { digestOf } from "@coppice/replication";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ServerError } from "../error.ts";
import { namingHolder } from "./files.ts";
import { type Layout, PLAIN_LAYOUT, backendsOf, createStorage, readLayout } from "./layout.ts";

interface TransferOptions {
  readonly prefix?: GroupId;
  readonly onProgress?: (progress: TransferProgress) => void;
  readonly signal?: AbortSignal;
}

interface ImportDirectoryOptions extends TransferOptions {
  /** Leave groups alone that are stored with other content, instead of refusing. */
  readonly skipExisting?: boolean;
  /** Or replace them. */
  readonly overwrite?: boolean;
  /** What is imported is older than what peers may have: it begins new epochs. */
  readonly renew?: boolean;
}

interface CheckDirectoryOptions {
  readonly onProgress?: (progress: { readonly groups: number }) => void;
  readonly signal?: AbortSignal;
}

/** What a start would find. */
export interface StoredReport {
  readonly groups: number;
  readonly deleted: number;
  /** Groups whose journal holds more than their newest snapshot. */
  readonly journalled: number;
  readonly snapshotBytes: number;
  /** Groups that lost something and have not got it back from peers. */
  readonly degraded: readonly string[];
  readonly domains: readonly { readonly name: string; readonly groups: number }[];
}

/** Lists what is stored, and reads no states. */
export async function listDirectory(data: string): Promise<StoredReport> {
  const storage = await opened(data, await existing(data));
  try {
    const domains = new Map<string, number>();
    const degraded: string[] = [];
    let [groups, deleted, journalled, snapshotBytes] = [0, 0, 0, 0];
    for await (const ids of storage.listJournalled()) journalled += ids.length;
    for await (const rows of storage.listGroups({ deleted: true })) {
      for (const row of rows) {
        if (row.epoch % 2 === 0) deleted++;
        else {
          groups++;
          snapshotBytes += row.snapshotBytes;
          const domain = domainOf(row.id);
          domains.set(domain, (domains.get(domain) ?? 0) + 1);
          if (row.degraded) degraded.push(formatGroupId(row.id));
        }
      }
    }
    const byName = [...domains].toSorted(([left], [right]) => (left < right ? -1 : 1));
    return {
      groups,
      deleted,
      journalled,
      snapshotBytes,
      degraded,
      domains: byName.map(([name, count]) => ({ name, groups: count })),
    };
  } finally {
    await storage.close();
  }
}

/** Reads everything and changes nothing. `INVALID_OPTIONS` where no node ever ran. */
export async function checkDirectory(data: string, options: CheckDirectoryOptions = {}): Promise<CheckReport> {
  const reports = await withBackends(data, (backend) => checkStorage(backend, options));
  return reports.reduce(addReports);
}

/** How often an engine is to mend its files: it may find the next damage only when it uses what it mended. */
const MENDS_MAX = 3;

/** What a repair did; `engines`: the storages whose engine had to mend its own files before they could be read. */
export interface RepairedDirectory extends RepairReport {
  readonly engines: readonly string[];
}

/** Repairs what can be repaired without peers; what is damaged is moved aside and never deleted. */
export async function repairDirectory(data: string, options: CheckDirectoryOptions = {}): Promise<RepairedDirectory> {
  const engines = new Set<string>();
  const repair = (backend: StorageBackend): Promise<RepairReport> => repairStorage(backend, options);
  const reports = await withBackends(data, repair, async (backend) => {
    const isRepaired = await backend.repairEngine();
    if (isRepaired) engines.add(backend.name);
    return isRepaired;
  });
  const report = reports.reduce((sum, next) => ({
    before: addReports(sum.before, next.before),
    after: addReports(sum.after, next.after),
    degraded: [...sum.degraded, ...next.degraded],
  }));
  return { ...report, engines: [...engines] };
}

/** The groups as one portable stream; a backup has their histories, too. */
export async function* exportDirectory(
  data: string,
  options: TransferOptions & { readonly history?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  const storage = await opened(data, await existing(data));
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
  const storage = await opened(data, (await readLayout(data)) ?? PLAIN_LAYOUT);
  try {
    const { overwrite = false, renew = false, ...rest } = options;
    const replacing = overwrite ? { overwrite: { digest: digestOf } } : {};
    const renewing = renew ? { renew: { digest: digestOf } } : {};
    return await importGroups(storage, chunks, { ...rest, ...replacing, ...renewing });
  } finally {
    await storage.close();
  }
}

function addReports(sum: CheckReport, report: CheckReport): CheckReport {
  return {
    groups: sum.groups + report.groups,
    records: sum.records + report.records,
    bytes: sum.bytes + report.bytes,
    damaged: sum.damaged + report.damaged,
    findings: [...sum.findings, ...report.findings],
  };
}

/**
 * Uses one backend after the other, the node's own first: a node that runs has that one locked. Where an engine cannot
 * read its own files, `mend` may make them readable, and it is used again.
 */
async function withBackends<R>(
  data: string,
  use: (backend: StorageBackend) => Promise<R>,
  mend: (backend: StorageBackend) => Promise<boolean> = () => Promise.resolve(false),
): Promise<readonly R[]> {
  const results: R[] = [];
  const backends = await backendsOf(data, await existing(data));
  for (const [index, backend] of backends.entries()) {
    for (let mends = 0; results.length <= index; mends++) {
      try {
        results.push(await useOne(data, backend, use));
      } catch (error) {
        const isCorrupt = error instanceof StorageError && error.code === "CORRUPT";
        if (!isCorrupt || mends === MENDS_MAX || !(await mend(backend))) throw error;
      }
    }
  }
  return results;
}

async function useOne<R>(
  data: string,
  backend: StorageBackend,
  use: (backend: StorageBackend) => Promise<R>,
): Promise<R> {
  await open(data, backend);
  try {
    return await use(backend);
  } finally {
    await backend.close();
  }
}

async function opened(data: string, layout: Layout): Promise<Domains> {
  const storage = await createStorage(data, layout);
  await open(data, storage);
  return storage;
}

async function open(data: string, storage: { open(): Promise<void> }): Promise<void> {
  try {
    await storage.open();
  } catch (error) {
    throw await namingHolder(data, error);
  }
}

async function existing(data: string): Promise<Layout> {
  const layout = await readLayout(data);
  if (layout !== undefined) return layout;
  const found = await stat(join(data, "db")).catch(() => undefined);
  if (found === undefined) throw new ServerError("INVALID_OPTIONS", `${data} is no data directory of a node`);
  return PLAIN_LAYOUT;
}
