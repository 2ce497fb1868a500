import type { StorageBackend } from "./backend.ts";
import { StorageError } from "./error.ts";

/** A store that may have a backend. */
export interface Claimant {
  /** Whether somebody closed its backend, and so ended it. */
  readonly isCutOff: boolean;
}

/** Which store has each backend: what one remembers of it, another would change behind its back. */
const claimants = new WeakMap<StorageBackend, Claimant>();

/** Throws `LOCKED` when another store has it. */
export function claim(backend: StorageBackend, claimant: Claimant): void {
  const other = claimants.get(backend);
  if (other !== undefined && other !== claimant && !other.isCutOff) {
    const about = `${backend.name} is open in another store, or another node, of this process`;
    throw new StorageError("LOCKED", `${about}: close that one, or give each a backend of its own`);
  }
  claimants.set(backend, claimant);
}

export function hasClaim(backend: StorageBackend, claimant: Claimant): boolean {
  return claimants.get(backend) === claimant;
}

export function unclaim(backend: StorageBackend): void {
  claimants.delete(backend);
}
