export {
  type BackendStatus,
  type Capabilities,
  type Entry,
  KEY_BYTES_MAX,
  type LogEntry,
  type LogRange,
  type Op,
  PAGE_BYTES,
  PAGE_ENTRIES_MAX,
  type RottenFile,
  type ScanOptions,
  type ScanRange,
  StorageBackend,
  type WriteOptions,
} from "./backend.ts";
export { type BackedUp, type ExportedGroup, readBackup, writeExport } from "./backup.ts";
export { type CheckOptions, type CheckProgress, type CheckReport, checkStorage, type Finding } from "./check.ts";
export { createDomains, type DomainConfig, type DomainOptions, Domains, type DomainsOptions } from "./domains.ts";
export { StorageError, type StorageErrorCode } from "./error.ts";
export { type ExportOptions, type ExportResume, exportGroups, resumeExport, type TransferProgress } from "./export.ts";
export {
  checkGroupId,
  decodeGroupKey,
  domainOf,
  encodeDomainPrefixes,
  encodeGroupId,
  encodeGroupPrefix,
  formatGroupId,
  GROUP_KEY_BYTES_MAX,
  type GroupId,
  parseGroupId,
} from "./group-id.ts";
export type {
  CatalogueRow,
  Damage,
  Digest,
  GroupCommit,
  GroupHistory,
  GroupMeta,
  GroupSnapshot,
  GroupStorage,
  JournalRecord,
  NodeRecord,
  StoredGroup,
  SupersededState,
} from "./group-storage.ts";
export { createGroupStore } from "./group-store.ts";
export type { GroupStoreOptions } from "./group-store-options.ts";
export { importGroups, type ImportOptions, type ImportReport } from "./import.ts";
export { type GroupInspection, inspectGroup, inspectGroups } from "./inspect.ts";
export { memoryStorage } from "./memory.ts";
export type { Compression } from "./packed-body.ts";
export { type RepairReport, repairStorage } from "./repair.ts";
export { writeBehind, WriteBehindBackend, type WriteBehindOptions } from "./write-behind.ts";
