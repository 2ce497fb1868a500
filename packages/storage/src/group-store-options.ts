import type { StorageBackend } from "./backend.ts";
import { checkFunctions, checkOptions } from "./check-options.ts";
import type { Damage, GroupStorage } from "./group-storage.ts";
import { type Compression, codecOf } from "./packed-body.ts";
import { WriteBehindBackend } from "./write-behind.ts";

export interface GroupStoreOptions {
  /** How to store bodies of 1 KiB and more. Default "auto". */
  readonly compression?: Compression;
  /** The wall clock, in Unix milliseconds. Default `Date.now`. */
  readonly now?: () => number;
  /** Told of everything found damaged, also by methods that return no damage. Must not throw. */
  readonly onDamage?: (damage: Damage) => void;
}

/** @param more names of options that `owner` takes beside those of a store */
export function checkStoreOptions(owner: string, options: GroupStoreOptions, more: readonly string[]): void {
  checkOptions(owner, options, ["compression", "now", "onDamage", ...more]);
  const { compression = "auto", now, onDamage } = options;
  checkFunctions({ now, onDamage });
  codecOf(compression);
}

/** What a store on a backend promises of every group. */
export function durabilityOf(backend: StorageBackend): ReturnType<GroupStorage["durability"]> {
  const { durable, sync } = backend.capabilities;
  return backend instanceof WriteBehindBackend ? { durable, sync, buffered: true } : { durable, sync };
}
