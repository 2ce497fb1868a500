/** What a person wants to see of a node at a glance. */
import type { GroupStatus, Node } from "@coppice/replication";
import { VERSION } from "../version.ts";
import { type PeerBody, peerBody } from "./api.ts";
import type { RouteContext } from "./context.ts";
import type { LoggedNotice, NoticeLog } from "./notice-log.ts";

export interface Overview {
  readonly version: string;
  readonly peerId: string;
  readonly startedAt: string;
  readonly now: string;
  readonly addresses: readonly string[];
  /** Whether writes reach the storage; `late` when that was not known in time. */
  readonly storage: "ok" | "late" | "failed";
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
  readonly watchers: number;
  readonly peers: readonly PeerBody[];
  readonly notices: readonly LoggedNotice[];
  /** Events a second, oldest first; each is the mean since the one before. */
  readonly rates: readonly number[];
}

type Sums = Pick<
  Overview,
  | "groups"
  | "active"
  | "degraded"
  | "stuck"
  | "events"
  | "snapshotBytes"
  | "journalBytes"
  | "pendingBytes"
  | "lagEvents"
>;

const INTERVAL_MS = 2000;
/** Looking takes at most this part of the time, however many groups there are. */
const SHARE_MAX = 0.05;
const SAMPLES_MAX = 120;
const NOTICES = 30;
const STORAGE_MS = 1000;

/** Takes an overview every two seconds for as long as somebody looks, once for all who do. */
export class OverviewFeed {
  readonly #context: RouteContext;
  readonly #notices: NoticeLog;
  readonly #startedAt = new Date().toISOString();
  readonly #listeners = new Set<(json: string) => void>();
  #rates: number[] = [];
  #last: { readonly events: number; readonly atMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: RouteContext, notices: NoticeLog) {
    this.#context = context;
    this.#notices = notices;
  }

  /** Tells of one at once, and then of each. Returns how to stop. */
  subscribe(listener: (json: string) => void): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) {
      // What was before nobody looked says nothing of the rate now.
      this.#last = undefined;
      this.#rates = [];
    }
    clearTimeout(this.#timer);
    void this.#tell();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) clearTimeout(this.#timer);
    };
  }

  async #tell(): Promise<void> {
    const beganAt = performance.now();
    const sums = sumUp(this.#context.node);
    const costMs = performance.now() - beganAt;
    this.#sample(sums.events, beganAt);
    const json = JSON.stringify(await this.#overview(sums));
    for (const listener of this.#listeners) listener(json);
    clearTimeout(this.#timer);
    if (this.#listeners.size === 0 || this.#context.closing.aborted) return;
    this.#timer = setTimeout(() => void this.#tell(), Math.max(INTERVAL_MS, costMs / SHARE_MAX));
    this.#timer.unref();
  }

  #sample(events: number, atMs: number): void {
    const last = this.#last;
    this.#last = { events, atMs };
    if (last === undefined || atMs <= last.atMs) return;
    this.#rates.push(Math.max(0, ((events - last.events) * 1000) / (atMs - last.atMs)));
    if (this.#rates.length > SAMPLES_MAX) this.#rates.shift();
  }

  async #overview(sums: Sums): Promise<Overview> {
    const { node, watchers } = this.#context;
    return {
      version: VERSION,
      peerId: node.id,
      startedAt: this.#startedAt,
      now: new Date().toISOString(),
      addresses: node.addresses(),
      storage: await probe(node),
      ...sums,
      watchers: watchers.taken,
      peers: node.peers().map(peerBody),
      notices: this.#notices.latest(NOTICES),
      rates: this.#rates,
    };
  }
}

async function probe(node: Node): Promise<Overview["storage"]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => (timer = setTimeout(() => resolve("late"), STORAGE_MS)));
  const synced = node.sync().then(
    () => "ok" as const,
    () => "failed" as const,
  );
  try {
    return await Promise.race([synced, late]);
  } finally {
    clearTimeout(timer);
  }
}

function sumUp(node: Node): Sums {
  const sums = {
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
  for (const group of node.groups()) if (group.phase !== "deleted") add(sums, group);
  return sums;
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
