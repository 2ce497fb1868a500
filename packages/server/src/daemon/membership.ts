import type { Invitation } from "@coppice/replication/libp2p";
import type { Joined } from "../admission/admission-file.ts";
import { AdmissionStore } from "../admission/admission-store.ts";
import { CODE_ID_BYTES, type Invite } from "../admission/invite-text.ts";
import type { StoredEntry } from "../admission/roll.ts";
import { ServerError } from "../error.ts";
import type { DaemonOptions } from "./daemon.ts";
import type { Log } from "./log.ts";
import { readNetworkKey } from "./network-key-file.ts";

/** What settings and invites together say about peers. */
export interface Membership {
  readonly admission: AdmissionStore;
  readonly peers: readonly string[];
  /** The domains to replicate; undefined for all. */
  readonly interest: readonly string[] | undefined;
  readonly networkKey: string | undefined;
  /** An invite that is still to be presented. */
  readonly invitation: Invitation | undefined;
  /** Keeps what the invite says: to be called once it was accepted. */
  keep(): Promise<void>;
}

/**
 * Settings come before what invites have said. Fails with `INVALID_OPTIONS` for an invite that has expired, unless this
 * node has used it already.
 */
export async function openMembership(options: DaemonOptions, log: Log): Promise<Membership> {
  const { data, invite, networkKeyFile } = options;
  const admission = await AdmissionStore.open(data, {
    takesIntroductions: options.introductions,
    isNewcomer: invite !== undefined,
    onTold: (entry) => logTold(entry, log),
  });
  const before = admission.joined();
  const fresh = invite === undefined || isKnown(invite, before) ? undefined : invite;
  if (fresh !== undefined && fresh.expiresAt <= Date.now()) {
    const ended = new Date(fresh.expiresAt).toISOString();
    throw new ServerError("INVALID_OPTIONS", `the invite of --join ended at ${ended}; ask for another one`);
  }
  const joined = fresh === undefined ? before : [...before, joinedBy(fresh)];
  return {
    admission,
    peers: [...new Set([...options.peers, ...joined.flatMap(({ addresses }) => addresses)])],
    interest: options.interest ?? interestOf(joined),
    networkKey:
      networkKeyFile === undefined
        ? joined.findLast(({ networkKey }) => networkKey !== undefined)?.networkKey
        : await readNetworkKey(networkKeyFile),
    invitation: fresh === undefined ? undefined : { addresses: fresh.addresses, invite: fresh.code },
    keep: async () => {
      if (fresh !== undefined) await admission.join(joinedBy(fresh));
    },
  };
}

/** Whom other nodes let in or remove is for the operator to see. */
function logTold({ peer, label, isRemoved, by }: StoredEntry, log: Log): void {
  const name = label === "" ? peer : `${peer} (${label})`;
  const message = isRemoved
    ? `${name} is admitted no longer: the member ${by} says so`
    : `${name} is admitted: the member ${by} says that it came by an invite`;
  log("info", isRemoved ? "peer-removed" : "peer-introduced", message, { peer, label, by });
}

function joinedBy({ addresses, domains, networkKey, code }: Invite): Joined {
  return {
    id: Buffer.from(code.subarray(0, CODE_ID_BYTES)).toString("hex"),
    addresses,
    ...(domains === undefined ? {} : { domains }),
    ...(networkKey === undefined ? {} : { networkKey }),
  };
}

/** The same command line may well start the node again and again. */
function isKnown(invite: Invite, joined: readonly Joined[]): boolean {
  const { id } = joinedBy(invite);
  return joined.some((known) => known.id === id);
}

/** All domains as soon as one of the invites was for all. */
function interestOf(joined: readonly Joined[]): readonly string[] | undefined {
  if (joined.length === 0) return undefined;
  const names = new Set<string>();
  for (const { domains } of joined) {
    if (domains === undefined) return undefined;
    for (const domain of domains) names.add(domain);
  }
  return [...names];
}
