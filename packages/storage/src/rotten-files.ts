import type { RottenFile, StorageBackend } from "./backend.ts";
import type { Damage } from "./group-storage.ts";

/** What the last `open` found, in words; undefined for what an earlier one did. */
export function reasonOf({ rottenAt }: RottenFile): string | undefined {
  return rottenAt === undefined ? undefined : `it has rotted at byte ${rottenAt}: writes behind that may be missing`;
}

/** Tells of what the last `open` of a backend found. */
export function tellRotten(backend: StorageBackend, onDamage: (damage: Damage) => void): void {
  for (const file of backend.rottenFiles) {
    const reason = reasonOf(file);
    if (reason === undefined) continue;
    onDamage({ id: undefined, record: "engine", action: "quarantined", reason: `${file.place}: ${reason}` });
  }
}
