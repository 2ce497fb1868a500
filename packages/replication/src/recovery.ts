import type { GroupId } from "@coppice/storage";
import type { GroupStatus } from "./replica.ts";
import type { SupersededGroup } from "./superseded.ts";

/** Groups loaded at the same time: the storage reads those of one turn together. */
const LOADS_AT_ONCE = 256;

/** How far a recovery is. */
export interface RecoveryProgress {
  readonly done: number;
  readonly total: number;
  readonly group: GroupStatus;
}

export interface RecoverOptions {
  /** Load nothing, only report what is stored. */
  readonly dryRun?: boolean;
  readonly onProgress?: (progress: RecoveryProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a recovery found. */
export interface RecoveryReport {
  /** Every stored group, with its status after the recovery. */
  readonly groups: readonly GroupStatus[];
  /** How many of them are loaded and whole. */
  readonly recovered: number;
  /** Loaded from an older snapshot or an incomplete journal: peers may have more. */
  readonly degraded: readonly GroupStatus[];
  /** Stored but not readable; left as they are. */
  readonly failed: readonly GroupStatus[];
  /** Of a type that this node was not given. */
  readonly unknown: readonly GroupStatus[];
  /** States of superseded epochs that were moved aside; see `Node.superseded`. */
  readonly superseded: readonly SupersededGroup[];
  /** Events in all groups. */
  readonly events: number;
  readonly durationMs: number;
}

/** What a recovery works on. */
export interface RecoverySource {
  readonly groups: readonly GroupId[];
  status(id: GroupId): GroupStatus;
  superseded(signal: AbortSignal | undefined): Promise<readonly SupersededGroup[]>;
  /** Loads a group; rejects when it cannot be read. */
  load(id: GroupId, signal: AbortSignal | undefined): Promise<void>;
}

/** Loads the groups, several at a time. One that cannot be read does not stop the others. */
export async function recoverGroups(source: RecoverySource, options: RecoverOptions): Promise<RecoveryReport> {
  const startedAt = performance.now();
  const waiting = source.groups.values();
  let done = 0;
  const work = async (): Promise<void> => {
    for (const id of waiting) {
      options.signal?.throwIfAborted();
      try {
        if (!options.dryRun) await source.load(id, options.signal);
      } catch {
        // Its phase says that it failed, and the report lists it.
        options.signal?.throwIfAborted();
      }
      done++;
      options.onProgress?.({ done, total: source.groups.length, group: source.status(id) });
    }
  };
  await Promise.all(Array.from({ length: LOADS_AT_ONCE }, work));
  const superseded = await source.superseded(options.signal);
  return report(
    superseded,
    source.groups.map((id) => source.status(id)),
    performance.now() - startedAt,
  );
}

function report(
  superseded: readonly SupersededGroup[],
  groups: readonly GroupStatus[],
  durationMs: number,
): RecoveryReport {
  const failed = groups.filter(({ phase }) => phase === "failed");
  const degraded = groups.filter((group) => group.degraded && group.phase !== "failed");
  return {
    groups,
    recovered: groups.filter((group) => group.phase === "active" && !group.degraded).length,
    degraded,
    failed,
    unknown: groups.filter(({ isKnownType }) => !isKnownType),
    superseded,
    events: groups.reduce((sum, { events }) => sum + events, 0),
    durationMs,
  };
}
