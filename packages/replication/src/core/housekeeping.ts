import type { CommitPipeline } from "./commit-pipeline.ts";
import type { Counts } from "./counts.ts";
import type { Group } from "./group.ts";
import type { GroupTable } from "./group-table.ts";
import { idleGroups } from "./idle-groups.ts";
import type { Limits } from "./limits.ts";

/** When groups are snapshotted and unloaded. */
export interface HousekeepingOptions {
  /** The wall clock, in Unix milliseconds. */
  now(): number;
  readonly limits: Limits;
  readonly idleGraceMs: number;
  /** Of a domain; undefined for no snapshots by time. */
  snapshotIntervalMs(domain: string): number | undefined;
}

/** What housekeeping works on. */
export interface HousekeepingParts {
  readonly table: GroupTable;
  readonly pipeline: CommitPipeline;
  /** Whether something of the group is still to be told or answered. */
  isBusy(group: Group): boolean;
  wake(): void;
  readonly counts: Counts;
}

/** What is done to loaded groups as time goes by: snapshots that are due, and letting go of what nobody uses. */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  readonly #parts: HousekeepingParts;

  constructor(options: HousekeepingOptions, parts: HousekeepingParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Unloads the groups that nobody uses, and lets those rest that nobody asked for again. */
  unloadIdle(): void {
    const { table } = this.#parts;
    const limits = { graceMs: this.#options.idleGraceMs, bytesMax: this.#options.limits.idleBytesMax };
    for (const group of idleGroups(table.active, this.#options.now(), limits, (idle) => this.#canUnload(idle))) {
      // With a journal to replay, it would have to be loaded again at the next start.
      if (group.journalBytes > 0 && group.server?.isOpaque === false) {
        this.requestSnapshot(group);
      } else {
        table.unload(group);
        this.#parts.counts.unloads++;
      }
    }
    table.groups.rest();
  }

  #canUnload(group: Group): boolean {
    const { server } = group;
    if (server === undefined || server.hasPending || server.degraded) return false;
    return !this.#parts.isBusy(group) && this.#parts.pipeline.holds(group);
  }

  snapshotsDue(): void {
    const now = this.#options.now();
    for (const group of this.#parts.table.active) {
      const snapshotIntervalMs = this.#options.snapshotIntervalMs(group.domain);
      if (snapshotIntervalMs === undefined) continue;
      // A snapshot in the future: the clock was set back since.
      const isDue = now - group.snapshotAt >= snapshotIntervalMs || group.snapshotAt > now;
      if (isDue) this.requestSnapshot(group);
    }
  }

  /** A snapshot of the group, unless nothing changed since the last. */
  requestSnapshot(group: Group): void {
    if (group.server === undefined || group.server.version === group.snapshotVersion) return;
    this.#parts.pipeline.snapshotDue(group);
    this.#parts.wake();
  }
}
