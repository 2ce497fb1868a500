import type { GroupStatus, Node } from "@coppice/replication";
import { type GroupId, formatGroupId } from "@coppice/storage";

/** What is known of a group after a count. */
export interface CountedGroup {
  readonly id: GroupId;
  readonly key: string;
  /** Id and type in lower case, for searching. */
  readonly text: string;
  readonly type: string;
  readonly events: number;
  readonly stored: number;
  readonly snapshot: number;
  readonly lag: number;
}

/** Figures of all groups together. */
export interface Sums {
  readonly groups: number;
  readonly active: number;
  readonly degraded: number;
  /** Groups that wait, or differ from a peer's, without progress. */
  readonly stuck: number;
  readonly events: number;
  readonly snapshotBytes: number;
  readonly journalBytes: number;
  readonly pendingBytes: number;
  /** Events that peers have told of and that are missing here. */
  readonly lagEvents: number;
}

/** One count of the living groups. */
export interface Count {
  readonly sums: Sums;
  readonly groups: readonly CountedGroup[];
  /** When it was begun, on the clock of `performance.now`. */
  readonly atMs: number;
}

/** Counting takes at most this part of the time, however many groups there are and however often it is asked for. */
const SHARE_MAX = 0.05;
/** Groups that are looked at before others get a turn. */
const SLICE = 1000;
/** A count that nobody asks for is forgotten. */
const KEPT_MS = 60_000;

/** Counts the groups of a node, in slices, so that a hundred thousand of them hold nobody up. */
export class Census {
  readonly #node: Node;
  #last: Count | undefined;
  #costMs = 0;
  #running: Promise<Count> | undefined;
  #forgetting: NodeJS.Timeout | undefined;

  constructor(node: Node) {
    this.#node = node;
  }

  /** A count that is as recent as its cost allows. */
  async take(): Promise<Count> {
    const last = this.#last;
    if (last !== undefined && performance.now() - last.atMs < this.#costMs / SHARE_MAX) return last;
    this.#running ??= this.#count().finally(() => (this.#running = undefined));
    return await this.#running;
  }

  async #count(): Promise<Count> {
    const atMs = performance.now();
    const sums: { -readonly [Name in keyof Sums]: number } = {
      groups: 0,
      active: 0,
      degraded: 0,
      stuck: 0,
      events: 0,
      snapshotBytes: 0,
      journalBytes: 0,
      pendingBytes: 0,
      lagEvents: 0,
    };
    const groups: CountedGroup[] = [];
    let costMs = 0;
    let sliceAtMs = atMs;
    for (const group of this.#node.groups()) {
      if (group.phase !== "deleted") {
        add(sums, group);
        groups.push(counted(group));
      }
      if (groups.length % SLICE > 0) continue;
      costMs += performance.now() - sliceAtMs;
      await new Promise((resolve) => setImmediate(resolve));
      sliceAtMs = performance.now();
    }
    this.#costMs = costMs + performance.now() - sliceAtMs;
    this.#last = { sums, groups, atMs };
    clearTimeout(this.#forgetting);
    this.#forgetting = setTimeout(() => (this.#last = undefined), KEPT_MS);
    this.#forgetting.unref();
    return this.#last;
  }
}

function add(sums: { -readonly [Name in keyof Sums]: number }, group: GroupStatus): void {
  sums.groups++;
  if (group.phase === "active") sums.active++;
  if (group.degraded) sums.degraded++;
  if (group.isStuck) sums.stuck++;
  sums.events += group.events;
  sums.snapshotBytes += group.snapshotBytes;
  sums.journalBytes += group.journalBytes;
  sums.pendingBytes += group.pendingBytes;
  sums.lagEvents += group.lagEvents;
}

function counted({
  id,
  key,
  type,
  events,
  snapshotBytes,
  journalBytes,
  snapshotAt,
  lagEvents,
}: GroupStatus): CountedGroup {
  return {
    id,
    key,
    text: `${formatGroupId(id)} ${type}`.toLowerCase(),
    type,
    events,
    stored: snapshotBytes + journalBytes,
    snapshot: snapshotAt,
    lag: lagEvents,
  };
}
