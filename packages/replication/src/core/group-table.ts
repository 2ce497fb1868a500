import { type AnyCrdtType, SEQ_MAX, type VersionVector } from "@coppice/crdt";
import {
  type CatalogueRow,
  type GroupId,
  StorageError,
  type StoredGroup,
  domainOf,
  encodeGroupId,
  formatGroupId,
} from "@coppice/storage";
import { ReplicationError, groupDeleted } from "../error.ts";
import type { ChangeLog } from "./change-log.ts";
import type { CommitPipeline } from "./commit-pipeline.ts";
import { equalDigest } from "./digest.ts";
import { HASH_MAX } from "./domain-index.ts";
import type { Group } from "./group.ts";
import { GroupDirectory } from "./group-directory.ts";
import type { RowNumber } from "./group-rows.ts";
import { LoadQueue } from "./load-queue.ts";
import type { GroupRef } from "./messages.ts";
import { ReplicationServer, type ServerEnvironment } from "./replication-server.ts";
import type { UnseenWrites } from "./unseen-writes.ts";

/** What the table needs of its core. */
export interface TableParts {
  readonly types: readonly AnyCrdtType[];
  /** The domains that this node replicates; undefined means all. */
  readonly domains: readonly string[] | undefined;
  readonly pipeline: CommitPipeline;
  readonly unseen: UnseenWrites;
  readonly changes: ChangeLog;
  readonly server: ServerEnvironment;
  /** Read what is stored of a group, then call `loaded` or `loadFailed`. */
  read(group: Group): void;
  /** The group's phase, or its comparison with peers, changed. */
  moved(group: Group): void;
  /** Ask every peer for what is missing here. */
  repair(group: Group): void;
  /** Tell every peer what is known here. */
  spread(group: Group): void;
  wake(): void;
}

const NONE: ReadonlySet<number> = new Set();

/** Every group that a node knows, and its life: stored, loaded, unloaded, deleted, created anew. */
export class GroupTable {
  readonly #parts: TableParts;
  readonly #types = new Map<string, AnyCrdtType>();
  readonly #directory: GroupDirectory;
  readonly #active = new Set<Group>();
  readonly #queue: LoadQueue;
  #hasToldFull = false;
  readonly #loading = new Map<Group, ((group: Group) => void)[]>();

  constructor(parts: TableParts) {
    this.#parts = parts;
    this.#queue = new LoadQueue((group) => parts.read(group), parts.server.limits.loadsMax);
    this.#directory = new GroupDirectory((domain) => this.isInterestedIn(domain));
    for (const type of parts.types) this.#types.set(type.name, type);
  }

  get groups(): GroupDirectory {
    return this.#directory;
  }

  /** The groups whose state is in memory. */
  get active(): ReadonlySet<Group> {
    return this.#active;
  }

  type(name: string): AnyCrdtType | undefined {
    return this.#types.get(name);
  }

  /** Gives the core code for a type; groups of it that were kept without code so far come alive. */
  register(type: AnyCrdtType): void {
    if (this.#types.has(type.name)) return;
    this.#types.set(type.name, type);
    for (const group of this.#active) group.server?.register(type);
  }

  /** A group found in the catalogue. `isJournalled`: its journal holds more than the row says. */
  addStored(row: CatalogueRow, isJournalled: boolean): void {
    this.#directory.addStored(row, isJournalled);
  }

  /** The group, created empty when it is not known. Throws `GROUP_DELETED` or `TYPE_CONFLICT`. */
  open(id: GroupId, type: AnyCrdtType, recreate: boolean): Group {
    this.register(type);
    const key = encodeGroupId(id);
    const group = this.#directory.get(key);
    if (group === undefined) return this.#add(id, { key, type: type.name, epoch: 1 });
    if (group.phase === "deleted") {
      if (!recreate) throw groupDeleted(id);
      this.#restart(group, nextEpoch(group), type.name);
    } else if (group.typeName !== type.name) {
      const message = `group ${formatGroupId(id)} is of type ${group.typeName}, not ${type.name}; open it with its own type, or delete it`;
      throw new ReplicationError("TYPE_CONFLICT", message);
    }
    return group;
  }

  #add(id: GroupId, { key, type, epoch }: GroupRef): Group {
    if (this.#directory.size >= this.#parts.server.limits.groupsMax) {
      throw new ReplicationError(
        "LIMIT_EXCEEDED",
        `this node holds ${this.#directory.size} groups, its limit (groupsMax)`,
      );
    }
    return this.#directory.add(id, key, type, epoch);
  }

  /** A group that a peer tells of; undefined when it is of no interest here, or there is no room for it. */
  addFromPeer(id: GroupId, ref: GroupRef): Group | undefined {
    if (!this.isInterestedIn(domainOf(id))) return undefined;
    if (this.room() === 0) return undefined;
    const group = this.#add(id, ref);
    if (this.#types.get(ref.type) === undefined && group.phase !== "deleted") {
      this.#parts.server.notice(
        "UNKNOWN_TYPE",
        `group ${formatGroupId(id)} is of type ${ref.type}, which this node was not given`,
        { group: id },
      );
    }
    if (group.phase === "deleted") this.#storeDeletion(group);
    return group;
  }

  /** The group's content may have changed. */
  changed(group: Group): void {
    if (this.#directory.update(group)) this.#parts.changes.note(group.key);
  }

  /** How many groups more may be taken from peers. When there is no room, that is told once: they offer theirs again and again. */
  room(): number {
    const room = Math.max(0, this.#parts.server.limits.groupsMax - this.#directory.size);
    if (room > 0 || this.#hasToldFull) return room;
    this.#hasToldFull = true;
    const message = `this node holds ${this.#directory.size} groups, its limit (groupsMax), and takes no other from peers`;
    this.#parts.server.notice("LIMIT_EXCEEDED", message, {});
    return room;
  }

  isInterestedIn(domain: string): boolean {
    return this.#parts.domains?.includes(domain) ?? true;
  }

  /**
   * Makes the group active, then calls back. Not called for deleted groups, nor when loading fails. `isAwaited`: someone
   * waits for it, so it is read before those that nobody waits for.
   */
  load(group: Group, then: (group: Group) => void, isAwaited: boolean = false): void {
    this.#directory.keepAwake(group);
    group.usedAt = this.#parts.server.now();
    if (group.phase === "active") return then(group);
    if (group.phase === "deleted" || group.phase === "failed") return;
    const waiting = this.#loading.get(group) ?? [];
    waiting.push(then);
    this.#loading.set(group, waiting);
    if (group.phase === "loading") return this.#queue.add(group, isAwaited);
    group.phase = "loading";
    group.failure = undefined;
    if (group.isStored) this.#queue.add(group, isAwaited);
    else this.loaded(group, undefined);
  }

  /** What is stored of a group that the core asked for. */
  loaded(group: Group, stored: StoredGroup | undefined): void {
    this.#queue.done(group);
    if (group.phase !== "loading") return;
    const server = new ReplicationServer(this.#parts.server, group.key, group.meta(), this.#types.get(group.typeName));
    if (stored !== undefined) {
      try {
        server.restore(stored);
      } catch (error) {
        return this.loadFailed(group, error);
      }
    } else if (group.isStored) {
      // Nothing readable was left of it, and all of that was moved aside.
      group.isStored = false;
      server.degraded = true;
    }
    group.activate(server);
    group.journalBytes = stored?.records.reduce((sum, record) => sum + record.bytes.length, 0) ?? 0;
    group.snapshotVersion = group.journalBytes > 0 ? -1 : server.version;
    group.snapshotAt = group.snapshotAt === 0 ? this.#parts.server.now() : group.snapshotAt;
    if (server.degraded) {
      server.snapshotRequired = true;
      this.#parts.pipeline.dirty(group);
    }
    this.#active.add(group);
    this.changed(group);
    if (server.degraded || server.hasPending) this.#parts.repair(group);
    this.#resume(group);
  }

  /**
   * Takes a group that rests for loaded, as it was read without being asked for. False when it does not rest, and when it
   * may have changed since it was read.
   */
  adopt(stored: StoredGroup): boolean {
    const { key, epoch, digest } = stored.row;
    const group = this.#directory.get(key);
    const rests = group?.phase === "stored" && group.isStored && group.epoch === epoch;
    // It may have been loaded, written to, and unloaded again.
    if (!rests || !(group.isUnsettled || equalDigest(group.digest(), digest))) return false;
    group.usedAt = this.#parts.server.now();
    group.phase = "loading";
    this.loaded(group, stored);
    return true;
  }

  /**
   * Nothing stored is touched: the group stays as it is on disk. When the storage only did not answer, it is read again
   * the next time it is needed; otherwise it takes no part until the next start.
   */
  loadFailed(group: Group, error: unknown): void {
    this.#queue.done(group);
    // It was deleted or created anew meanwhile.
    if (group.phase !== "loading") return;
    group.failure = error;
    this.#loading.delete(group);
    if (error instanceof StorageError && (error.code === "IO" || error.code === "FULL")) {
      group.phase = "stored";
      this.#parts.server.notice("STORAGE_FAILED", `group ${formatGroupId(group.id)} was not read: ${error.message}`, {
        group: group.id,
      });
      return this.#parts.moved(group);
    }
    group.fail();
    this.#parts.server.notice(
      "GROUP_DEGRADED",
      `group ${formatGroupId(group.id)} cannot be loaded and stays untouched: ${String(error)}`,
      { group: group.id },
    );
    this.#parts.moved(group);
  }

  #resume(group: Group): void {
    const waiting = this.#loading.get(group) ?? [];
    this.#loading.delete(group);
    this.#parts.moved(group);
    for (const then of waiting) {
      try {
        then(group);
      } catch (error) {
        this.#parts.server.notice("MALFORMED_FRAME", `group ${formatGroupId(group.id)}: ${String(error)}`, {
          group: group.id,
        });
      }
    }
    this.#parts.wake();
  }

  /** Deletes a group for good: its next epoch is a tombstone. Calls back once that is on stable storage. */
  delete(group: Group, then: () => void): void {
    if (group.phase === "deleted") return this.#parts.pipeline.whenDeleted(then);
    this.#restart(group, nextEpoch(group), group.typeName, group.vector.clone());
    this.#storeDeletion(group, () => {
      this.#parts.repair(group);
      then();
    });
  }

  #storeDeletion(group: Group, then: () => void = () => {}): void {
    this.#parts.pipeline.delete(group.meta(), then);
    this.#parts.wake();
  }

  /**
   * The group enters another epoch, as a peer has. `theirs`: what whoever deleted it knew. Own writes that may be
   * nowhere else are moved aside; false when the group must be loaded for that first.
   */
  enterEpoch(group: Group, ref: GroupRef, theirs?: VersionVector): boolean {
    // A tombstone tells of the epoch right before it.
    const known = ref.epoch % 2 === 0 && ref.epoch === group.epoch + 1 ? theirs : undefined;
    const unseen = this.#parts.unseen.count(group, known);
    const isUnread = (group.phase === "stored" || group.phase === "loading") && group.isStored;
    if (isUnread && (unseen > 0 || group.isUnsettled)) return false;
    const name = formatGroupId(group.id);
    const message = `group ${name} goes from epoch ${group.epoch} to ${ref.epoch}, as a peer has it`;
    this.#parts.server.notice("EPOCH_SUPERSEDED", message, { group: group.id });
    if (unseen > 0) this.#moveAside(group, unseen);
    const former = group.vector.clone();
    if (known !== undefined) former.merge(known);
    this.#restart(group, ref.epoch, ref.type, former);
    // A deletion must not cost an interval a hop.
    if (group.phase === "deleted") this.#storeDeletion(group, () => this.#parts.spread(group));
    return true;
  }

  #moveAside(group: Group, events: number): void {
    const { server } = group;
    const about = `epoch ${group.epoch} of group ${formatGroupId(group.id)} had ${events} events of this node that no peer is known to have`;
    // Without its type's code there is no state that could be kept.
    const state = server === undefined || server.isOpaque ? undefined : server.snapshot();
    if (state !== undefined) this.#parts.pipeline.supersede(state);
    const what = state === undefined ? "they are lost, for they cannot be read here" : "its state is moved aside";
    this.#parts.server.notice("MOVED_ASIDE", `${about}; ${what}`, { group: group.id });
  }

  #restart(group: Group, epoch: number, typeName: string, former?: VersionVector): void {
    this.#directory.keepAwake(group);
    this.#parts.pipeline.forget(group);
    this.#active.delete(group);
    const wasLoading = this.#loading.delete(group);
    group.restart(epoch, typeName);
    this.changed(group);
    this.#parts.unseen.leaves(group, former);
    this.#parts.moved(group);
    // Whoever opens it goes on waiting until it is loaded.
    if (wasLoading) this.load(group, () => {});
  }

  /**
   * Something was compared with a peer, and nothing is missing here. `isHeld`: the peer has the group, so what was lost
   * here in storage has come back.
   */
  compared(group: Group, isHeld: boolean = false): void {
    if (group.server?.hasPending) return;
    if (isHeld && group.server?.degraded) {
      group.server.degraded = false;
      this.#parts.pipeline.repaired(group);
      this.#parts.server.notice("GROUP_REPAIRED", `group ${formatGroupId(group.id)} was repaired from a peer`, {
        group: group.id,
      });
      this.#parts.wake();
    }
    if (group.isCompared) return;
    group.isCompared = true;
    this.#parts.moved(group);
  }

  /** The same for all groups of a domain with hashes `from` to `to`, but those of the hashes given. */
  comparedDomain(domain: string, except: ReadonlySet<number> = NONE, from: number = 0, to: number = HASH_MAX): void {
    const busy = new Set<RowNumber>();
    for (const group of this.#active) {
      const { hash } = group;
      if (group.domain !== domain || hash < from || hash > to || except.has(hash)) continue;
      this.compared(group, true);
      if (!group.isCompared) busy.add(group.row);
    }
    this.#directory.domains.get(domain)?.compared(except, busy, from, to);
  }

  /** Nobody has the group open any more: one that nobody ever wrote to is as if it had never been opened. */
  released(group: Group): void {
    if (!group.isBlank) return;
    this.#parts.pipeline.forget(group);
    this.unload(group);
    this.#directory.leave(group);
  }

  /** Lets go of a group's state; everything in it must be stored. */
  unload(group: Group): void {
    this.#active.delete(group);
    group.unload();
    this.#parts.moved(group);
  }
}

/** Throws `LIMIT_EXCEEDED` behind the last one: only a peer that lies has brought the group there. */
function nextEpoch(group: Group): number {
  if (group.epoch < SEQ_MAX) return group.epoch + 1;
  const message = `group ${formatGroupId(group.id)} is in its last epoch (${group.epoch}): use another group`;
  throw new ReplicationError("LIMIT_EXCEEDED", message);
}
