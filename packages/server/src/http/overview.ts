/** What a person wants to see of a node at a glance. */
import type { Node } from "@coppice/replication";
import { VERSION } from "../version.ts";
import { type PeerBody, peerBody } from "./api.ts";
import type { Census, Sums } from "./census.ts";
import type { RouteContext } from "./context.ts";
import type { LoggedNotice, NoticeLog } from "./notice-log.ts";

export interface Overview extends Sums {
  readonly version: string;
  readonly peerId: string;
  readonly startedAt: string;
  readonly now: string;
  readonly addresses: readonly string[];
  /** Whether writes reach the storage; `late` when that was not known in time. */
  readonly storage: "ok" | "late" | "failed";
  readonly watchers: number;
  readonly peers: readonly PeerBody[];
  readonly notices: readonly LoggedNotice[];
  /** Events a second, oldest first; each is the mean since the one before. */
  readonly rates: readonly number[];
}

const INTERVAL_MS = 2000;
const SAMPLES_MAX = 120;
const NOTICES = 30;
const STORAGE_MS = 1000;

/** Takes an overview every two seconds for as long as somebody looks, once for all who do. */
export class OverviewFeed {
  readonly #context: RouteContext;
  readonly #census: Census;
  readonly #notices: NoticeLog;
  readonly #startedAt = new Date().toISOString();
  readonly #listeners = new Set<(json: string) => void>();
  #rates: number[] = [];
  #last: { readonly events: number; readonly atMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: RouteContext, census: Census, notices: NoticeLog) {
    this.#context = context;
    this.#census = census;
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
    const { sums, atMs } = await this.#census.take();
    this.#sample(sums.events, atMs);
    const json = JSON.stringify(await this.#overview(sums));
    for (const listener of this.#listeners) listener(json);
    clearTimeout(this.#timer);
    if (this.#listeners.size === 0 || this.#context.closing.aborted) return;
    this.#timer = setTimeout(() => void this.#tell(), INTERVAL_MS);
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
