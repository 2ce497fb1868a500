/// <reference lib="esnext.disposable" preserve="true" />
import type { Actor, HybridTime, VersionVector } from "@coppice/crdt";
import type { GroupId } from "./group-id.ts";

/** Two unsigned 32-bit lanes that stand for a group's version vector, type and epoch. */
export type Digest = readonly [number, number];

/** What is known of a group without its state. */
export interface GroupMeta {
  readonly id: GroupId;
  /** The name of the group's CRDT type. */
  readonly type: string;
  /** Odd while the group lives, even once it is deleted; rises by one at each deletion and re-creation. */
  readonly epoch: number;
  readonly vector: VersionVector;
  /** The actors whose latest event no other known event follows. */
  readonly frontier: readonly Actor[];
  /** The highest hybrid timestamp of any event. */
  readonly time: HybridTime;
  readonly digest: Digest;
}

/**
 * A catalogue row: what listing the stored groups yields. Reading it never decodes the state.
 *
 * `id`, `vector` and `frontier` are decoded when they are first asked for, from bytes that the row keeps: copy what is
 * needed of many rows, instead of keeping the rows.
 */
export interface CatalogueRow extends GroupMeta {
  /** The group's id as `encodeGroupId` makes it. */
  readonly key: string;
  /**
   * `vector` and `frontier` as they are stored: a version vector, uint count, that many actors. A view of bytes that the
   * row keeps; absent from rows that were not read from storage.
   */
  readonly history?: Uint8Array;
  /** Bytes of the newest snapshot as stored; 0 before the first. */
  readonly snapshotBytes: number;
  /** When the newest snapshot was taken, in Unix milliseconds; 0 before the first. */
  readonly snapshotAt: number;
  /** Events with a journal position below this are in the snapshot; `vector` and `digest` are as of here. */
  readonly journalPosition: number;
  /** Whether a damaged record was found: what is served may lack events until peers have repaired it. */
  readonly degraded: boolean;
  /** Listed with `journalled`: whether the journal goes on behind the newest snapshot, so that the row is behind. */
  readonly isJournalled?: boolean;
}

/** A complete state to store; `body` is `CrdtType.encode`'s. Replaces the previous snapshot only when whole. */
export interface GroupSnapshot extends GroupMeta {
  /** Number of this epoch's journalled events that the body holds. */
  readonly journalPosition: number;
  readonly body: Uint8Array;
}

/** One journal record: consecutive events of one group, as they also go to peers. */
export interface JournalRecord {
  readonly id: GroupId;
  readonly epoch: number;
  /** Position of its first event: the first record of an epoch has 0, each further one continues without a hole. */
  readonly position: number;
  /** Number of events. */
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** What one group commit writes; atomic for all groups of one backend. */
export interface GroupCommit {
  /** Groups written for the first time (in this epoch): their catalogue rows come with their first record. */
  readonly created?: readonly GroupMeta[];
  readonly records?: readonly JournalRecord[];
  readonly snapshots?: readonly GroupSnapshot[];
  /** Groups that peers have brought up to date after damage: no longer `degraded`. */
  readonly repaired?: readonly GroupId[];
  /** States to move aside before their epoch is superseded; see {@link SupersededState}. */
  readonly superseded?: readonly GroupSnapshot[];
  /** Deletions: `epoch` is even. What is stored of lower epochs is removed, the row stays as a tombstone. */
  readonly deletions?: readonly GroupMeta[];
}

/** The state of a group's former epoch, kept when another took its place, because it held writes found nowhere else. */
export interface SupersededState extends Pick<GroupMeta, "id" | "type" | "epoch" | "vector" | "time"> {
  /** When it was moved aside, in Unix milliseconds. */
  readonly keptAt: number;
  /** The complete state: `CrdtType.encode`'s. */
  readonly body: Uint8Array;
}

/** Something that did not pass its check, and what was done about it. */
export interface Damage {
  readonly id: GroupId | undefined;
  /** "engine": a file of the engine, whatever it held. */
  readonly record: "catalogue" | "snapshot" | "journal" | "node" | "engine";
  /** "quarantined": moved aside, kept. "rebuilt": derived anew from another record. */
  readonly action: "quarantined" | "rebuilt";
  readonly reason: string;
}

/** What is stored of one group. */
export interface StoredGroup {
  readonly row: CatalogueRow;
  /** The newest whole snapshot (after damage, the previous generation); absent before the first. */
  readonly snapshot: GroupSnapshot | undefined;
  /** The records from the snapshot's position on, without a hole. */
  readonly records: readonly JournalRecord[];
  /** The position of the next record to append. */
  readonly nextPosition: number;
  readonly damage: readonly Damage[];
}

/** What is stored of one living group, as far back as its journal reaches. */
export interface GroupHistory {
  /** As of the newest snapshot; without one, as the group began. */
  readonly meta: GroupMeta;
  readonly degraded: boolean;
  /** The snapshot before the newest one; absent where there is none, or none that is whole. */
  readonly older: GroupSnapshot | undefined;
  readonly newest: GroupSnapshot | undefined;
  /** From the older snapshot's position on, else from the journal's start, else from the newest's; without a hole. */
  readonly records: readonly JournalRecord[];
}

/** What a node keeps about itself. */
export interface NodeRecord {
  readonly nodeId: string;
  /** How often a node was started on this storage. */
  readonly starts: number;
  /** Whether the last run ended with `close()`, and the storage took all that it held. */
  readonly clean: boolean;
  /** Addresses of peers known at the last run. */
  readonly peers: readonly string[];
}

/**
 * The groups of a node on disk (or in memory): one store over one backend, or a router over several domains.
 *
 * All methods fail with `StorageError` `NOT_OPEN` before `open` and after `close`, and `IO` (with its cause) when the
 * engine fails. Nothing here knows what events or states mean.
 */
export interface GroupStorage extends AsyncDisposable {
  /**
   * Whether groups of this id survive the process, and whether `sync` reaches stable storage. `buffered`: a commit
   * without `sync` goes with the process until it is saved.
   */
  durability(id: GroupId): { readonly durable: boolean; readonly sync: boolean; readonly buffered?: boolean };
  /** Opens the backends, takes their writer locks (`LOCKED` when another process holds one). */
  open(options?: { signal?: AbortSignal }): Promise<void>;
  /** Commits atomically; with `sync`, resolves once it is on stable storage. */
  commit(commit: GroupCommit, options?: { sync?: boolean; signal?: AbortSignal }): Promise<void>;
  /** What is stored of a group; `undefined` when nothing is (also for a deleted group: see `row`). */
  load(id: GroupId, options?: { signal?: AbortSignal }): Promise<StoredGroup | undefined>;
  /** What is stored of a living group, as far back as its journal reaches. */
  history(id: GroupId): Promise<GroupHistory | undefined>;
  /** The catalogue row, tombstones included. */
  row(id: GroupId): Promise<CatalogueRow | undefined>;
  /**
   * Pages of catalogue rows, ordered by group key; tombstones (even epochs) only with `deleted`. Reads no bodies. With
   * `journalled`, each row says whether its group's journal goes on behind it.
   */
  listGroups(options?: {
    prefix?: GroupId;
    deleted?: boolean;
    journalled?: boolean;
    signal?: AbortSignal;
  }): AsyncIterable<readonly CatalogueRow[]>;
  /**
   * Pages of what is stored of each group, ordered by group key: one scan, where a `load` for each would look each of
   * them up. A page is as of the start of the scan, or newer. Tombstones only with `deleted`.
   */
  loadGroups(options?: {
    prefix?: GroupId;
    deleted?: boolean;
    signal?: AbortSignal;
  }): AsyncIterable<readonly StoredGroup[]>;
  /** Pages of ids of groups that have journal records beyond their newest snapshot. */
  listJournalled(options?: { signal?: AbortSignal }): AsyncIterable<readonly GroupId[]>;
  /** Superseded states that were kept, of one group or of all; damaged ones stay where they are, and are left out. */
  listSuperseded(options?: { id?: GroupId; signal?: AbortSignal }): AsyncIterable<readonly SupersededState[]>;
  /** Removes a superseded state for good; whether there was one. */
  removeSuperseded(id: GroupId, epoch: number): Promise<boolean>;
  readNode(): Promise<NodeRecord | undefined>;
  writeNode(record: NodeRecord): Promise<void>;
  /** A small secret (the node's private key): outside snapshots, listings and exports; a file of mode 0600 on disk. */
  readSecret(name: string): Promise<Uint8Array | undefined>;
  writeSecret(name: string, bytes: Uint8Array): Promise<void>;
  /** A barrier: everything committed so far is on stable storage. */
  sync(): Promise<void>;
  /** Syncs, unlocks, closes; idempotent. */
  close(): Promise<void>;
}
