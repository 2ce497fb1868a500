import { type Damage, type GroupStorage, StorageBackend, createGroupStore, memoryStorage } from "@coppice/storage";
import { ReplicationError } from "./error.ts";

/**
 * Opens what the `storage` option names: a backend, a ready group storage, or nothing (memory). `onDamage` is told of what
 * is damaged in a backend; a ready group storage tells that its own way.
 */
export async function openStorage(
  storage: StorageBackend | GroupStorage | undefined,
  onDamage: (damage: Damage) => void,
  signal: AbortSignal | undefined,
): Promise<GroupStorage> {
  const opened = groupStorage(storage, onDamage);
  await opened.open(signal === undefined ? {} : { signal });
  return opened;
}

function groupStorage(
  storage: StorageBackend | GroupStorage | undefined,
  onDamage: (damage: Damage) => void,
): GroupStorage {
  if (storage === undefined) return createGroupStore(memoryStorage());
  if (storage instanceof StorageBackend) return createGroupStore(storage, { onDamage });
  if (typeof storage === "object" && storage !== null && typeof storage.listGroups === "function") return storage;
  const message = 'storage must be a backend, such as memoryStorage() or levelStorage("./data")';
  throw new ReplicationError("INVALID_OPTIONS", message);
}
