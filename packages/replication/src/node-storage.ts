import { type GroupStorage, StorageBackend, createGroupStore, memoryStorage } from "@coppice/storage";
import { ReplicationError } from "./error.ts";

/** Opens what the `storage` option names: a backend, a ready group storage, or nothing (memory). */
export async function openStorage(
  storage: StorageBackend | GroupStorage | undefined,
  signal: AbortSignal | undefined,
): Promise<GroupStorage> {
  const opened = groupStorage(storage);
  await opened.open(signal === undefined ? {} : { signal });
  return opened;
}

function groupStorage(storage: StorageBackend | GroupStorage | undefined): GroupStorage {
  if (storage === undefined) return createGroupStore(memoryStorage());
  if (storage instanceof StorageBackend) return createGroupStore(storage);
  if (typeof storage === "object" && typeof storage.listGroups === "function") return storage;
  const message = 'storage must be a backend, such as memoryStorage() or levelStorage("./data")';
  throw new ReplicationError("INVALID_OPTIONS", message);
}
