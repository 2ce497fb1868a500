import type { Actor, AnyCrdtType } from "@coppice/crdt";
import type { GroupCommit, GroupId } from "@coppice/storage";
import type { Link, PeerId } from "../transport.ts";
import type { Durability } from "./commit-pipeline.ts";
import type { NoticeSubject } from "./context.ts";
import type { Group } from "./group.ts";
import type { Limits } from "./limits.ts";
import type { Changes } from "./changes.ts";

/** What the core asks of the world. None of these may call back into the core before they return. */
export interface CoreEffects {
  /** Sends a frame; false when the link wants no more until `drained`. */
  send(link: Link, frame: Uint8Array): boolean;
  /** Delivers no further frames of a link until `resume`. */
  pause(link: Link): void;
  resume(link: Link): void;
  /** Ends the link to a peer that breaks the protocol. */
  drop(peer: PeerId): void;
  /**
   * Call `endTick` at the end of this tick, or sooner when nothing more is to be expected in it. `isLong`: it goes on with
   * what the last one did not finish, and others should have their turn before.
   */
  wake(isLong: boolean): void;
  /** Read what is stored of a group, then call `loaded`. */
  load(group: Group): void;
  /** Write atomically (and sync), then call `committed`. */
  commit(commit: GroupCommit, sync: boolean): void;
  /** The group's state changed since the last call. */
  changed(group: Group, changes: Changes): void;
  /** The presence states of a group's nodes changed. */
  presenceChanged(group: Group): void;
  /** A message that another node broadcast in a group. */
  broadcast(group: Group, message: Uint8Array, origin: PeerId): void;
  /** Something about the group's phase or comparison with peers changed. */
  moved(group: Group): void;
  /** A peer that a link would be good to may be reached there. */
  discovered(addresses: readonly string[]): void;
  notice(code: string, message: string, about?: NoticeSubject): void;
}

export interface CoreOptions {
  readonly effects: CoreEffects;
  /** This node's id. */
  readonly self: PeerId;
  /** The wall clock, in Unix milliseconds. */
  now(): number;
  /** A random number below 1. */
  random(): number;
  /** The actor of this process; with `fresh`, a new incarnation that was never used. */
  actor(fresh: boolean): Actor;
  /** Throws `NO_MEMBERSHIP` unless the group's domain has a roster. */
  checkMembership(group: GroupId): void;
  readonly types: readonly AnyCrdtType[];
  /** The domains that this node replicates; undefined means all. */
  readonly domains: readonly string[] | undefined;
  durability(id: GroupId): Durability;
  readonly limits: Limits;
  readonly syncIntervalMs: number;
  readonly heartbeatMs: number;
  /** Of a domain's groups; undefined for snapshots only when asked for, when a journal grows long, and at the end. */
  snapshotIntervalMs(domain: string): number | undefined;
  /** How long a loaded group may go unused before it is unloaded. */
  readonly idleGraceMs: number;
}
