import type { VersionVector } from "@coppice/crdt";
import type { GroupId } from "@coppice/storage";
import type { PeerId } from "../transport.ts";
import type { Counts } from "./counts.ts";
import type { Group } from "./group.ts";
import type { GroupDirectory } from "./group-directory.ts";
import type { Limits } from "./limits.ts";
import type { GroupRef } from "./messages.ts";
import type { Peer } from "./peer.ts";
import type { SyncWatch } from "./sync-watch.ts";
import type { UnseenWrites } from "./unseen-writes.ts";

/** What gossip and anti-entropy share of their core. */
export interface CoreContext {
  readonly groups: GroupDirectory;
  readonly peers: ReadonlyMap<PeerId, Peer>;
  /** Milliseconds that never go back, for intervals. */
  now(): number;
  /** The wall clock, in Unix milliseconds; may jump. */
  wallNow(): number;
  readonly limits: Limits;
  isInterestedIn(domain: string): boolean;
  /** Adds a group that was never stored here. */
  add(id: GroupId, group: GroupRef): Group | undefined;
  /** How many groups more this node may take from peers; tells its users once when there is no room. */
  room(): number;
  /** Loads the group if need be, then calls back; not at all when it cannot be loaded. */
  load(group: Group, then: (group: Group) => void): void;
  /** See `CommitPipeline.respond`. */
  respond(group: Group, prepare: () => () => void): void;
  /** See `GroupTable.enterEpoch`. */
  enterEpoch(group: Group, ref: GroupRef, theirs?: VersionVector): boolean;
  /** Which own writes no peer is known to have. */
  readonly unseen: UnseenWrites;
  /** Sees whether replicas come together. */
  readonly watch: SyncWatch;
  readonly counts: Counts;
  /** Something was compared and nothing is missing here; `isHeld`: with a peer that has the group. */
  compared(group: Group, isHeld?: boolean): void;
  /** The same for all groups of a domain, or those with hashes `from` to `to`, but those of the hashes given. */
  comparedDomain(domain: string, except?: ReadonlySet<number>, from?: number, to?: number): void;
  notice(code: string, message: string, about?: NoticeSubject): void;
}

/** What a notice is about. */
export interface NoticeSubject {
  readonly peer?: PeerId;
  readonly group?: GroupId;
}

/** How a group is named to peers. */
export function refOf(group: Group): GroupRef {
  return { key: group.key, type: group.typeName, epoch: group.epoch };
}
