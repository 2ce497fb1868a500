import { type GroupId, decodeGroupKey } from "@coppice/storage";
import type { ChangeLog } from "./core/change-log.ts";
import type { Peer } from "./core/peer.ts";
import type { Verdict } from "./core/verification.ts";
import type { PeerId } from "./transport.ts";

/** A linked peer, as this node sees it. */
export interface PeerStatus {
  readonly id: PeerId;
  readonly addresses: readonly string[];
  /** The domains it is interested in; undefined means all. */
  readonly domains: readonly string[] | undefined;
  /** Events received from it that were new here. */
  readonly events: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes that wait to be sent to it. */
  readonly queueBytes: number;
  /** When contents were last compared with it, in Unix milliseconds; 0 for not yet. */
  readonly lastSyncAt: number;
  /** Groups that are known to differ from this node's; see `Node.lags`. */
  readonly differingGroups: number;
  /** Events that it has told of and that are missing here, in all groups. */
  readonly lagEvents: number;
  /** For how long the longest differing group has differed, in milliseconds. */
  readonly lagMs: number;
  /** Differing groups that do not come together. */
  readonly stuckGroups: number;
}

export function peerStatus(peer: Peer, lags: readonly Lag[]): PeerStatus {
  return {
    id: peer.id,
    addresses: peer.link.addresses,
    domains: peer.hello?.domains,
    events: peer.counts.events,
    bytesIn: peer.counts.bytesIn,
    bytesOut: peer.counts.bytesOut,
    queueBytes: peer.queueBytes,
    lastSyncAt: peer.lastSyncAt,
    ...sumOf(lags.filter((lag) => lag.peer === peer.id)),
  };
}

/** How far this node and a peer are apart in one group, as far as they have told each other. */
export interface Lag {
  readonly group: GroupId;
  readonly peer: PeerId;
  /** Events that the peer has and that are missing here. */
  readonly missingHere: number;
  /** Events that the peer lacked when it last told what it has. */
  readonly missingThere: number;
  /** For how long they have differed, in milliseconds. */
  readonly ms: number;
  /** Whether nothing has moved for several comparisons; there was a notice `STUCK`. */
  readonly isStuck: boolean;
}

/** What `Node.changedSince` tells. */
export interface ChangedGroups {
  readonly groups: readonly GroupId[];
  /** Where to go on: a short text that only this run of the node understands. */
  readonly cursor: string;
  /** Whether more have changed; ask again at once. */
  readonly hasMore: boolean;
  readonly startOver: boolean;
}

/** What changed since a cursor of the run of a node that `incarnation` names. */
export function changedGroups(
  changes: ChangeLog,
  incarnation: string,
  cursor: string | undefined,
  limit: number,
): ChangedGroups {
  const [, run, seq] = /^([0-9a-f]{16})\.(\d{1,15})$/.exec(cursor ?? "") ?? [];
  const page = run === incarnation ? changes.since(Number(seq), Math.max(1, limit)) : undefined;
  const next = `${incarnation}.${page?.next ?? changes.last}`;
  if (page === undefined) return { groups: [], cursor: next, hasMore: false, startOver: true };
  return { groups: page.keys.map(decodeGroupKey), cursor: next, hasMore: page.hasMore, startOver: false };
}

/** What `Node.verify` found. */
export interface VerificationReport {
  /** This node's digest of the group, 16 hexadecimal digits. */
  readonly digest: string;
  /** What each interested peer's content says; one that did not answer in time is missing. */
  readonly peers: ReadonlyMap<PeerId, Verdict>;
  /** The peers that hold another content for the same events: this must never be; please report it. */
  readonly divergent: readonly PeerId[];
}

/** What `Node.collect` did. */
export interface CollectionReport {
  /** Items freed on this node. */
  readonly collected: number;
  /** The events that every member knows. */
  readonly stable: Readonly<Record<string, number>>;
}

/** What is known of the differences to one peer. */
function sumOf(lags: readonly Lag[]): Pick<PeerStatus, "differingGroups" | "lagEvents" | "lagMs" | "stuckGroups"> {
  return {
    differingGroups: lags.length,
    lagEvents: lags.reduce((sum, { missingHere }) => sum + missingHere, 0),
    lagMs: lags.reduce((most, { ms }) => Math.max(most, ms), 0),
    stuckGroups: lags.filter(({ isStuck }) => isStuck).length,
  };
}
