/** The bodies of requests and responses, as the server sends and the client reads them. */
import type { GroupStatus, PeerStatus, Verdict } from "@coppice/replication";
import { formatGroupId } from "@coppice/storage";
import type { Scope } from "../auth/grant.ts";

/** `GET /v1/status` */
export interface StatusBody {
  readonly version: string;
  readonly peerId: string;
  /** 16 hexadecimal digits, fresh at every start of the process. */
  readonly incarnation: string;
  readonly addresses: readonly string[];
  readonly startedAt: string;
  readonly groups: number;
  readonly peers: number;
  readonly types: readonly string[];
}

/** A group without its value. */
export interface GroupBody {
  /** In its text form: `words/a` for `["words", "a"]`. */
  readonly id: string;
  readonly type: string;
  readonly domain: string;
  readonly epoch: number;
  readonly phase: GroupStatus["phase"];
  /** Equal digests mean equal states, on whatever node. */
  readonly digest: string;
  readonly events: number;
  /** When the newest snapshot was taken; null before the first. */
  readonly snapshotAt: string | null;
  readonly snapshotBytes: number;
  readonly journalBytes: number;
  readonly degraded: boolean;
  /** Events received that wait for others. */
  readonly pendingBytes: number;
}

/** `GET /v1/groups` */
export interface GroupPageBody {
  readonly groups: readonly GroupBody[];
  /** What to pass as `after` for the next page; null on the last. */
  readonly next: string | null;
}

/** `GET /v1/groups/:id/value` */
export interface ValueBody {
  readonly id: string;
  readonly type: string;
  readonly digest: string;
  readonly value: unknown;
}

/** `POST /v1/groups/:id/operations` */
export interface OperationsBody {
  /** What each operation returned, null for nothing. */
  readonly results: readonly unknown[];
  /** Right after the operations. */
  readonly digest: string;
  /** When the request asked for it. */
  readonly value?: unknown;
}

/** `GET /v1/types` */
export interface TypesBody {
  readonly types: readonly {
    readonly name: string;
    readonly operations: readonly string[];
    readonly nestable: boolean;
  }[];
}

/** `GET /v1/domains` */
export interface DomainsBody {
  readonly domains: readonly DomainBody[];
}

/** A domain; what is null is off or not known. */
export interface DomainBody {
  readonly name: string;
  readonly configured: boolean;
  readonly groups: number;
  readonly type: string | null;
  readonly storage: string | null;
  readonly durability: string | null;
  readonly snapshotIntervalMs: number | null;
  readonly inMemory: boolean | null;
  readonly autoSaveMs: number | null;
  readonly replicated: boolean | null;
}

/** `GET /v1/peers` */
export interface PeersBody {
  readonly peers: readonly PeerBody[];
}

export interface PeerBody {
  readonly id: string;
  readonly addresses: readonly string[];
  /** The domains it is interested in; null means all. */
  readonly domains: readonly string[] | null;
  /** Events received from it that were new here. */
  readonly events: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes that wait to be sent to it. */
  readonly queueBytes: number;
  /** When contents were last compared with it; null before the first time. */
  readonly lastSyncAt: string | null;
}

/** `POST /v1/recoveries` */
export interface RecoveryBody {
  readonly groups: number;
  readonly recovered: number;
  readonly events: number;
  readonly durationMs: number;
  readonly degraded: readonly GroupBody[];
  readonly failed: readonly GroupBody[];
  readonly unknown: readonly GroupBody[];
}

/** `GET /v1/tokens` */
export interface TokensBody {
  readonly tokens: readonly TokenBody[];
}

/** A token without its secret. */
export interface TokenBody {
  readonly id: string;
  readonly label: string;
  readonly scope: Scope;
  /** null means all. */
  readonly domains: readonly string[] | null;
  readonly createdAt: string;
  readonly expiresAt: string | null;
}

/** `POST /v1/tokens` */
export interface NewTokenBody extends TokenBody {
  /** The text to send; it cannot be had again. */
  readonly token: string;
}

/** `GET /v1/invites` */
export interface InvitesBody {
  readonly invites: readonly InviteBody[];
  /** Peers that came with an invite. */
  readonly admitted: readonly AdmittedBody[];
}

export interface InviteBody {
  readonly id: string;
  readonly label: string;
  readonly createdAt: string;
  readonly expiresAt: string;
}

export interface AdmittedBody {
  readonly peer: string;
  readonly label: string;
  readonly admittedAt: string;
  /** The member that told of it; null where the invite was made here. */
  readonly by: string | null;
}

/** `POST /v1/invites` */
export interface NewInviteBody extends InviteBody {
  /** For `coppice start --join`. */
  readonly invite: string;
}

/** A group that was compared with its peers. */
export interface VerifiedGroupBody {
  readonly id: string;
  readonly digest: string;
  /** By peer id; one that did not answer in time is missing. */
  readonly peers: Readonly<Record<string, Verdict>>;
  /** Why it could not be compared. */
  readonly code?: string;
}

/** `POST /v1/verifications` */
export interface VerificationBody {
  readonly groups: number;
  readonly peers: number;
  readonly equal: number;
  readonly divergent: readonly VerifiedGroupBody[];
  readonly different: readonly VerifiedGroupBody[];
}

/** The body that describes a peer. */
export function peerBody(peer: PeerStatus): PeerBody {
  const { id, addresses, domains = null, events, bytesIn, bytesOut, queueBytes, lastSyncAt } = peer;
  const lastSync = lastSyncAt === 0 ? null : new Date(lastSyncAt).toISOString();
  return { id, addresses, domains, events, bytesIn, bytesOut, queueBytes, lastSyncAt: lastSync };
}

/** The body that describes a group. */
export function groupBody(status: GroupStatus): GroupBody {
  return {
    id: formatGroupId(status.id),
    type: status.type,
    domain: status.domain,
    epoch: status.epoch,
    phase: status.phase,
    digest: status.digest,
    events: status.events,
    snapshotAt: status.snapshotBytes === 0 ? null : new Date(status.snapshotAt).toISOString(),
    snapshotBytes: status.snapshotBytes,
    journalBytes: status.journalBytes,
    degraded: status.degraded,
    pendingBytes: status.pendingBytes,
  };
}
