import { type Actor, VersionVector } from "@coppice/crdt";
import type { Digest, GroupId, GroupMeta } from "@coppice/storage";
import { groupSeed } from "./digest.ts";
import {
  COMPARED,
  DEGRADED,
  DELETED,
  type GroupRows,
  PAUSED,
  type RowNumber,
  SEEN,
  STORED,
  UNSEEN,
  UNSETTLED,
} from "./group-rows.ts";
import type { Issued } from "./incarnation.ts";
import type { ReplicationServer } from "./replication-server.ts";
import type { RestingGroup } from "./resting-group.ts";

/** Where a group stands: known from the catalogue, being loaded, in memory, a tombstone, or not readable. */
export type GroupPhase = "stored" | "loading" | "active" | "deleted" | "failed";

/** A group to look at. */
export type GroupView = Readonly<
  Pick<
    Group,
    | "id"
    | "key"
    | "domain"
    | "typeName"
    | "epoch"
    | "phase"
    | "vector"
    | "isEmpty"
    | "digest"
    | "server"
    | "isStored"
    | "isPaused"
    | "isCompared"
    | "isUnsettled"
    | "isDegraded"
    | "snapshotAt"
    | "snapshotBytes"
    | "journalBytes"
  >
>;

/**
 * A group as its node knows it, loaded or not: what is done with it happens here. One that nobody uses rests as bytes in
 * the directory (`group-directory.ts`), which makes this object of them again.
 */
export class Group {
  readonly key: string;
  readonly domain: string;
  /** Its row in the directory. */
  readonly row: RowNumber;
  readonly #rows: GroupRows;
  #meta: GroupMeta;
  #server: ReplicationServer | undefined;
  phase: GroupPhase;
  /** Why it could not be loaded. */
  failure: unknown;
  /** When the newest snapshot was taken, in Unix milliseconds, and the server's version then. */
  snapshotAt: number;
  snapshotVersion = 0;
  snapshotBytes: number;
  /** Bytes journalled since the newest snapshot. */
  journalBytes: number;
  /** Open replicas; the group stays loaded while there is one. */
  handles = 0;
  /** When it was last used, in Unix milliseconds. */
  usedAt = 0;
  #issued: Issued | undefined;
  #watchers = 0;

  /** Used by the directory. */
  constructor(rows: GroupRows, row: RowNumber, domain: string, resting: RestingGroup) {
    this.#rows = rows;
    this.row = row;
    this.domain = domain;
    this.key = resting.key;
    this.#meta = resting.meta;
    this.snapshotAt = resting.snapshotAt;
    this.snapshotBytes = resting.snapshotBytes;
    this.journalBytes = resting.journalBytes;
    this.#issued = resting.issued;
    this.phase = resting.meta.epoch % 2 === 0 ? "deleted" : "stored";
  }

  get id(): GroupId {
    return this.#server?.id ?? this.#meta.id;
  }

  /** Its place in catalogue lists. */
  get hash(): number {
    return this.#rows.hash(this.row);
  }

  /** Whether the journal holds more than the row says: its digest is not known before it is loaded. */
  get isUnsettled(): boolean {
    return this.#rows.has(this.row, UNSETTLED);
  }

  /** Whether some peer's content was compared with ours and nothing was missing here. */
  get isCompared(): boolean {
    return this.#rows.has(this.row, COMPARED);
  }

  set isCompared(isCompared: boolean) {
    this.#rows.set(this.row, COMPARED, isCompared);
  }

  /** Whether a catalogue row of this epoch is stored. */
  get isStored(): boolean {
    return this.#rows.has(this.row, STORED);
  }

  set isStored(isStored: boolean) {
    this.#rows.set(this.row, STORED, isStored);
  }

  /** Whether it takes nothing more from peers, because a limit was reached. */
  get isPaused(): boolean {
    return this.#rows.has(this.row, PAUSED);
  }

  set isPaused(isPaused: boolean) {
    this.#rows.set(this.row, PAUSED, isPaused);
  }

  /** Whether own writes have left this node since a peer last showed that it has them all. */
  get isUnseen(): boolean {
    return this.#rows.has(this.row, UNSEEN);
  }

  set isUnseen(isUnseen: boolean) {
    this.#rows.set(this.row, UNSEEN, isUnseen);
  }

  /** Whether a peer had everything of this epoch once in this process. */
  get wasSeen(): boolean {
    return this.#rows.has(this.row, SEEN);
  }

  set wasSeen(wasSeen: boolean) {
    this.#rows.set(this.row, SEEN, wasSeen);
  }

  /** Whether something of it was lost in storage, or could not be read, and no peer has brought it back yet. */
  get isDegraded(): boolean {
    return this.phase === "failed" || (this.#server?.degraded ?? this.#rows.has(this.row, DEGRADED));
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

  /** Whether no event of it is known. */
  get isEmpty(): boolean {
    return this.#server?.isEmpty ?? this.#meta.vector.size === 0;
  }

  /** About how long it is for peers: as stored, or what is newer. */
  get bytes(): number {
    return Math.max(this.snapshotBytes + this.journalBytes, this.#server?.tailBytes ?? 0);
  }

  /** Whether it is loaded, and nobody is known to have ever written to it: there is nothing of it but this object. */
  get isBlank(): boolean {
    const server = this.#server;
    if (server === undefined || !this.isEmpty || this.epoch > 1 || this.isStored || this.isPaused) return false;
    return !server.hasPending && !server.degraded && server.incarnation.seq === 0;
  }

  digest(): Digest {
    return this.#server?.digest() ?? this.#meta.digest;
  }

  meta(): GroupMeta {
    return this.#server?.meta() ?? this.#meta;
  }

  /** Whether nobody needs more of it than its directory keeps. */
  get canRest(): boolean {
    const isQuiet = this.phase === "deleted" || (this.phase === "stored" && this.failure === undefined);
    return isQuiet && this.#server === undefined && this.handles === 0 && this.#watchers === 0;
  }

  /** What is left of it at rest. */
  resting(): RestingGroup {
    const { key, snapshotAt, snapshotBytes, journalBytes } = this;
    return { key, meta: this.#meta, snapshotAt, snapshotBytes, journalBytes, issued: this.#issued };
  }

  /** Puts a replication server behind the group. */
  activate(server: ReplicationServer): void {
    if (this.#issued !== undefined) server.incarnation.resume(this.#issued, server.vector);
    this.#server = server;
    this.#meta = KNOWN_BY_SERVER;
    server.watchers = this.#watchers;
    this.phase = "active";
    this.#rows.set(this.row, UNSETTLED, false);
    this.#rows.set(this.row, DEGRADED, false);
    this.failure = undefined;
  }

  /** It cannot be read until the next start: what its catalogue row says is all that is known of it. */
  fail(): void {
    this.phase = "failed";
    this.#rows.set(this.row, UNSETTLED, false);
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
    this.#meta = emptyMeta(this.id, this.key, type, epoch);
    this.#server?.dispose();
    this.#server = undefined;
    this.#issued = undefined;
    this.phase = epoch % 2 === 0 ? "deleted" : "stored";
    this.failure = undefined;
    this.isStored = false;
    this.#rows.set(this.row, UNSETTLED, false);
    this.#rows.set(this.row, DEGRADED, false);
    this.#rows.set(this.row, DELETED, this.phase === "deleted");
    this.isCompared = false;
    this.isUnseen = false;
    this.wasSeen = false;
    this.snapshotAt = 0;
    this.snapshotVersion = 0;
    this.snapshotBytes = 0;
    this.journalBytes = 0;
  }
}

/** While a group is loaded, its server knows what it is. */
const KNOWN_BY_SERVER: GroupMeta = emptyMeta("-", "-", "-", 0);

/** The meta of a group without events. */
export function emptyMeta(id: GroupId, key: string, type: string, epoch: number): GroupMeta {
  const digest = groupSeed(key, type, epoch);
  return { id, type, epoch, vector: new VersionVector(), frontier: [], time: 0, digest };
}
