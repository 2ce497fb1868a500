import { type GroupStatus, type Replica, ReplicationError } from "@coppice/replication";
import { formatGroupId } from "@coppice/storage";
import { type RouteContext, openReplica } from "./context.ts";
import { oncePerTurn } from "./once-per-turn.ts";
import { toJson, writingJson } from "./wire-json.ts";

/** What a watcher is told: a JSON text that all watchers of the group share. */
export interface WatchEvent {
  readonly event: "value" | "deleted" | "error";
  /** The group's digest: what to resume from. */
  readonly id: string;
  readonly data: string;
}

/** What became of an event: there is room for more, this was the last that fitted, or there was no room for it. */
export type Sent = "more" | "last" | "refused";

/**
 * One who watches a group. Once its queue is full it is sent nothing until it calls `resume`, and next gets the value as
 * it is by then.
 */
export interface Watcher {
  send(event: WatchEvent): Sent;
  /** Nothing more will come. */
  end(): void;
}

/** A watcher's place in its group. */
export interface Watch {
  /** The watcher takes events again. */
  resume(): void;
  /** Idempotent. */
  stop(): void;
}

/** A heartbeat finds groups that were deleted, on whatever node. */
const CHECK_MS = 1000;

/**
 * Everyone who watches groups through this server. A group with watchers is subscribed to once; its value is written
 * as JSON once for a tick, whatever the number of watchers; a watcher holds no queue but only whether it is behind.
 * So every watcher gets every final value, and memory does not grow with slow ones.
 */
export class WatchHub {
  readonly #context: RouteContext;
  readonly #groups = new Map<string, Promise<GroupWatch>>();

  constructor(context: RouteContext) {
    this.#context = context;
    context.closing.addEventListener("abort", () => void this.#endAll(), { once: true });
  }

  /**
   * Begins to watch. The first event is the value, at once, unless its digest is `after`: then there is nothing to
   * tell yet. Errors: as {@link openReplica}, and `RATE_LIMITED` when too many watch already.
   */
  async watch(group: GroupStatus, watcher: Watcher, after: string | undefined): Promise<Watch> {
    const leave = this.#context.watchers.take();
    try {
      return await this.#watch(group, watcher, after, leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  async #watch(group: GroupStatus, watcher: Watcher, after: string | undefined, leave: () => void): Promise<Watch> {
    let watch = await this.#group(group);
    let stop = watch.add(watcher, after);
    while (stop === undefined) {
      // Its last watcher has left while this one was on its way.
      watch = await this.#group(group);
      stop = watch.add(watcher, after);
    }
    const [joined, remove] = [watch, stop];
    if (this.#context.closing.aborted) setImmediate(() => joined.end());
    return {
      resume: () => joined.resume(watcher),
      stop: () => {
        leave();
        remove();
      },
    };
  }

  async #group(group: GroupStatus): Promise<GroupWatch> {
    const existing = this.#groups.get(group.key);
    if (existing !== undefined) return await existing;
    const opening = openReplica(this.#context, group).then(
      (replica) => new GroupWatch(replica, () => this.#groups.delete(group.key)),
    );
    this.#groups.set(group.key, opening);
    try {
      return await opening;
    } catch (error) {
      this.#groups.delete(group.key);
      throw error;
    }
  }

  async #endAll(): Promise<void> {
    for (const opening of this.#groups.values()) {
      const watch = await opening.catch(() => undefined);
      watch?.end();
    }
  }
}

/** Whether a watcher's queue is full, and whether it has missed something meanwhile. */
interface WatcherState {
  isBlocked: boolean;
  isBehind: boolean;
}

function send(watcher: Watcher, state: WatcherState, event: WatchEvent): void {
  const sent = watcher.send(event);
  state.isBlocked = sent !== "more";
  state.isBehind = sent === "refused";
}

/** Those who watch one group. */
class GroupWatch {
  readonly #replica: Replica<unknown, unknown, unknown>;
  readonly #id: string;
  readonly #onEmpty: () => void;
  readonly #stopWatching: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #watchers = new Map<Watcher, WatcherState>();
  #event: WatchEvent | undefined;
  #isClosed = false;

  constructor(replica: Replica<unknown, unknown, unknown>, onEmpty: () => void) {
    this.#replica = replica;
    this.#id = formatGroupId(replica.id);
    this.#onEmpty = onEmpty;
    const tell = oncePerTurn(() => this.#tell());
    this.#stopWatching = replica.subscribe(() => {
      this.#event = undefined;
      tell();
    });
    this.#timer = setInterval(() => this.#checkDeleted(), CHECK_MS);
    this.#timer.unref();
  }

  /** Returns how to stop; undefined when this has been closed. */
  add(watcher: Watcher, after: string | undefined): (() => void) | undefined {
    if (this.#isClosed) return undefined;
    const state: WatcherState = { isBlocked: false, isBehind: false };
    this.#watchers.set(watcher, state);
    // Later than the caller's own preparations, which need what `watch` resolves to.
    setImmediate(() => {
      const event = this.#current();
      if (event !== undefined && event.id !== after && this.#watchers.has(watcher)) send(watcher, state, event);
    });
    return () => this.#remove(watcher);
  }

  resume(watcher: Watcher): void {
    const state = this.#watchers.get(watcher);
    if (state === undefined) return;
    state.isBlocked = false;
    const event = state.isBehind ? this.#current() : undefined;
    if (event !== undefined) send(watcher, state, event);
  }

  end(): void {
    for (const watcher of this.#watchers.keys()) {
      this.#remove(watcher);
      watcher.end();
    }
    this.#close();
  }

  #tell(): void {
    const event = this.#current();
    if (event === undefined) return;
    for (const [watcher, state] of this.#watchers) {
      if (state.isBlocked) state.isBehind = true;
      else send(watcher, state, event);
    }
  }

  /** The present value as an event; undefined when there is none to tell: then the watchers are told why. */
  #current(): WatchEvent | undefined {
    if (this.#event !== undefined || this.#isClosed) return this.#event;
    try {
      const id = this.#replica.digest();
      const value = (): unknown => toJson(this.#replica.value());
      const data = writingJson(() => JSON.stringify({ id: this.#id, digest: id, value: value() }));
      this.#event = { event: "value", id, data };
    } catch (error) {
      if (!(error instanceof ReplicationError)) throw error;
      this.#checkDeleted();
      if (error.code === "LIMIT_EXCEEDED") this.#endWith("error", { code: error.code, detail: error.message });
    }
    return this.#event;
  }

  #checkDeleted(): void {
    if (this.#replica.status.phase === "deleted") this.#endWith("deleted", {});
  }

  #endWith(event: "deleted" | "error", details: object): void {
    if (this.#isClosed) return;
    const data = JSON.stringify({ id: this.#id, ...details });
    for (const watcher of this.#watchers.keys()) watcher.send({ event, id: "", data });
    this.end();
  }

  #remove(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size === 0) this.#close();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#stopWatching();
    this.#replica.close();
    this.#onEmpty();
  }
}
