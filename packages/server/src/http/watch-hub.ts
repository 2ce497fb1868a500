import { type GroupStatus, type Replica, ReplicationError } from "@coppice/replication";
import { formatGroupId } from "@coppice/storage";
import { type RouteContext, openReplica } from "./context.ts";
import { toJson } from "./wire-json.ts";

/** What a watcher is told: a JSON text that all watchers of the group share. */
export interface WatchEvent {
  readonly event: "value" | "deleted";
  /** The group's digest: what to resume from. */
  readonly id: string;
  readonly data: string;
}

/**
 * One who watches a group. `send` returns false when its queue is full: it is then sent nothing until it calls
 * `resume`, and next gets the value as it is by then.
 */
export interface Watcher {
  send(event: WatchEvent): boolean;
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
  #count = 0;

  constructor(context: RouteContext) {
    this.#context = context;
    context.closing.addEventListener("abort", () => void this.#endAll(), { once: true });
  }

  /** Watchers at the moment. */
  get count(): number {
    return this.#count;
  }

  /**
   * Begins to watch. The first event is the value, at once, unless its digest is `after`: then there is nothing to
   * tell yet. Errors: as {@link openReplica}.
   */
  async watch(group: GroupStatus, watcher: Watcher, after: string | undefined): Promise<Watch> {
    let watch = await this.#group(group);
    let stop = watch.add(watcher, after);
    while (stop === undefined) {
      // Its last watcher has left while this one was on its way.
      watch = await this.#group(group);
      stop = watch.add(watcher, after);
    }
    return this.#counted(watch, watcher, stop);
  }

  #counted(watch: GroupWatch, watcher: Watcher, stop: () => void): Watch {
    this.#count++;
    if (this.#context.closing.aborted) setImmediate(() => watch.end());
    let isStopped = false;
    return {
      resume: () => watch.resume(watcher),
      stop: () => {
        if (isStopped) return;
        isStopped = true;
        this.#count--;
        stop();
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

/** Those who watch one group. */
class GroupWatch {
  readonly #replica: Replica<unknown, unknown, unknown>;
  readonly #id: string;
  readonly #onEmpty: () => void;
  readonly #stopWatching: () => void;
  readonly #timer: NodeJS.Timeout;
  /** Whether each is behind: it was sent nothing since its queue was full. */
  readonly #watchers = new Map<Watcher, { isBlocked: boolean; isBehind: boolean }>();
  #isScheduled = false;
  #event: WatchEvent | undefined;
  #isClosed = false;

  constructor(replica: Replica<unknown, unknown, unknown>, onEmpty: () => void) {
    this.#replica = replica;
    this.#id = formatGroupId(replica.id);
    this.#onEmpty = onEmpty;
    this.#stopWatching = replica.subscribe(() => this.#schedule());
    this.#timer = setInterval(() => this.#checkDeleted(), CHECK_MS);
    this.#timer.unref();
  }

  /** Returns how to stop; undefined when this has been closed. */
  add(watcher: Watcher, after: string | undefined): (() => void) | undefined {
    if (this.#isClosed) return undefined;
    const state = { isBlocked: false, isBehind: false };
    this.#watchers.set(watcher, state);
    // Later than the caller's own preparations, which need what `watch` resolves to.
    setImmediate(() => {
      const event = this.#current();
      if (event === undefined) this.#checkDeleted();
      else if (event.id !== after && this.#watchers.has(watcher)) state.isBlocked = !watcher.send(event);
    });
    return () => this.#remove(watcher);
  }

  resume(watcher: Watcher): void {
    const state = this.#watchers.get(watcher);
    if (state === undefined) return;
    state.isBlocked = false;
    const event = state.isBehind ? this.#current() : undefined;
    if (event === undefined) return;
    state.isBehind = false;
    state.isBlocked = !watcher.send(event);
  }

  end(): void {
    for (const watcher of this.#watchers.keys()) {
      this.#remove(watcher);
      watcher.end();
    }
    this.#close();
  }

  /** Changes of one turn of the event loop are told together. */
  #schedule(): void {
    this.#event = undefined;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#tell();
    });
  }

  #tell(): void {
    const event = this.#current();
    if (event === undefined) {
      this.#checkDeleted();
      return;
    }
    for (const [watcher, state] of this.#watchers) {
      if (state.isBlocked) state.isBehind = true;
      else state.isBlocked = !watcher.send(event);
    }
  }

  /** The present value as an event; undefined when the group is gone. */
  #current(): WatchEvent | undefined {
    if (this.#event !== undefined) return this.#event;
    try {
      const id = this.#replica.digest();
      const data = JSON.stringify({ id: this.#id, digest: id, value: toJson(this.#replica.value()) });
      this.#event = { event: "value", id, data };
    } catch (error) {
      if (!(error instanceof ReplicationError)) throw error;
    }
    return this.#event;
  }

  #checkDeleted(): void {
    if (this.#isClosed || this.#replica.status.phase !== "deleted") return;
    const event: WatchEvent = { event: "deleted", id: "", data: JSON.stringify({ id: this.#id }) };
    for (const watcher of this.#watchers.keys()) watcher.send(event);
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
