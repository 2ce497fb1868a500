import { type Actor, VersionVector } from "@coppice/crdt";
import { type Digest, type GroupId, type GroupMeta, domainOf } from "@coppice/storage";
import { groupHash, groupSeed } from "./digest.ts";
import type { Issued } from "./incarnation.ts";
import type { ReplicationServer } from "./replication-server.ts";

/** Where a group stands: known from the catalogue, being loaded, in memory, a tombstone, or not readable. */
export type GroupPhase = "stored" | "loading" | "active" | "deleted" | "failed";

/**
 * A group as its node knows it, loaded or not. It outlives the replication server behind it: a stored group costs
 * only what its catalogue row says.
 */
export class Group {
  readonly id: GroupId;
  readonly key: string;
  readonly domain: string;
  /** Its place in catalogue lists. */
  readonly hash: number;
  #meta: GroupMeta;
  #server: ReplicationServer | undefined;
  phase: GroupPhase;
  /** Why it could not be loaded. */
  failure: unknown;
  /** Whether a catalogue row of this epoch is stored. */
  isStored: boolean;
  /** Whether the journal holds more than the row says: its digest is not known before it is loaded. */
  isUnsettled = false;
  /** Whether it takes nothing more from peers, because a limit was reached. */
  isPaused = false;
  /** Whether some peer's content was compared with ours and nothing was missing here. */
  isCompared = false;
  /** When the newest snapshot was taken, in Unix milliseconds, and the server's version then. */
  snapshotAt = 0;
  snapshotVersion = 0;
  snapshotBytes = 0;
  /** Bytes journalled since the newest snapshot. */
  journalBytes = 0;
  /** Open replicas; the group stays loaded while there is one. */
  handles = 0;
  /** When it was last used, in Unix milliseconds. */
  usedAt = 0;
  #issued: Issued | undefined;
  #watchers = 0;

  constructor(key: string, meta: GroupMeta, isStored: boolean) {
    this.id = meta.id;
    this.key = key;
    this.domain = domainOf(meta.id);
    this.hash = groupHash(key);
    this.#meta = meta;
    this.isStored = isStored;
    this.phase = meta.epoch % 2 === 0 ? "deleted" : "stored";
  }

  get server(): ReplicationServer | undefined {
    return this.#server;
  }

  get typeName(): string {
    return this.#server?.typeName ?? this.#meta.type;
  }

  get epoch(): number {
    return this.#server?.epoch ?? this.#meta.epoch;
  }

  /** Not to be changed by callers. */
  get vector(): VersionVector {
    return this.#server?.vector ?? this.#meta.vector;
  }

  /** The actors whose latest event no known event follows. */
  get frontier(): readonly Actor[] {
    return this.#server?.frontier ?? this.#meta.frontier;
  }

  /** How many subscriptions want to hear of changes. */
  get watchers(): number {
    return this.#watchers;
  }

  set watchers(count: number) {
    this.#watchers = count;
    if (this.#server !== undefined) this.#server.watchers = count;
  }

  digest(): Digest {
    return this.#server?.digest() ?? this.#meta.digest;
  }

  meta(): GroupMeta {
    return this.#server?.meta() ?? this.#meta;
  }

  /** Puts a replication server behind the group. */
  activate(server: ReplicationServer): void {
    if (this.#issued !== undefined) server.resume(this.#issued);
    this.#server = server;
    server.watchers = this.#watchers;
    this.phase = "active";
    this.isUnsettled = false;
    this.failure = undefined;
  }

  /** Lets go of the server; everything in it must be stored. What it knew of the group without its state stays. */
  unload(): void {
    if (this.#server === undefined) return;
    this.#meta = this.#server.meta();
    this.#issued = this.#server.issued ?? this.#issued;
    this.#server.dispose();
    this.#server = undefined;
    this.phase = "stored";
  }

  /** Starts another epoch: what the former one held is forgotten. Even epochs are tombstones. */
  restart(epoch: number, type: string): void {
    this.#server?.dispose();
    this.#server = undefined;
    this.#issued = undefined;
    this.#meta = emptyMeta(this.id, this.key, type, epoch);
    this.phase = epoch % 2 === 0 ? "deleted" : "stored";
    this.isStored = false;
    this.isUnsettled = false;
    this.isCompared = false;
    this.snapshotAt = 0;
    this.snapshotVersion = 0;
    this.snapshotBytes = 0;
    this.journalBytes = 0;
  }
}

/** The meta of a group without events. */
export function emptyMeta(id: GroupId, key: string, type: string, epoch: number): GroupMeta {
  const digest = groupSeed(key, type, epoch);
  return { id, type, epoch, vector: new VersionVector(), frontier: [], time: 0, digest };
}
