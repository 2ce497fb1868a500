import type { AnyCrdtType } from "@coppice/crdt";
import { type GroupId, type GroupStorage, type StorageBackend, domainOf, formatGroupId } from "@coppice/storage";
import type { Durability } from "./core/commit-pipeline.ts";
import { DEFAULT_LIMITS, type Limits } from "./core/limits.ts";
import { ReplicationError } from "./error.ts";
import { type Logger, silentLogger, unfailing } from "./logger.ts";
import { type OptionNames, checkNames, checkStrings, invalid } from "./option-checks.ts";
import type { PeerId, Transport } from "./transport.ts";

/** Something that an operator may want to see; nothing is thrown for it. */
export interface Notice {
  /** Stable, upper case; listed in `docs/errors.md`. */
  readonly code: string;
  readonly message: string;
  readonly peer?: PeerId;
  readonly group?: GroupId;
}

/** How the groups of one domain are kept, where that differs from the node's options of the same names. */
export interface DomainPolicy {
  readonly durability?: Durability;
  readonly snapshotIntervalMs?: number | false;
}

/** Options of `Node.open`. */
export interface OpenOptions {
  /** Whether to begin a deleted group anew, as another epoch. Default false. */
  readonly recreate?: boolean;
  readonly signal?: AbortSignal;
}

export const OPEN_OPTIONS: OptionNames<OpenOptions> = { recreate: true, signal: true };

/** Options of `createNode`. */
export interface NodeOptions {
  /** The CRDT types whose code this node has. Groups of other types are stored and relayed as they are. */
  readonly types: readonly AnyCrdtType[];
  /**
   * Where groups are kept. Default: in memory, lost with the process. Damage in a backend is told as `STORAGE_DAMAGED`; a
   * group storage that was made before tells it to its own `onDamage`.
   */
  readonly storage?: StorageBackend | GroupStorage;
  /** How peers are reached. Default: not at all. */
  readonly transport?: Transport;
  /**
   * When events reach the storage: `snapshot`, at the next snapshot only; `log`, in the journal before they leave the
   * node; `sync`, in the journal and on stable storage. Default: `log` on a durable storage, else `snapshot`.
   */
  readonly durability?: Durability;
  /** The domains (first elements of group ids) to replicate. Default: all. */
  readonly domains?: readonly string[];
  /** For domains that are kept in another way than the others. Default: none. */
  readonly policies?: Readonly<Record<string, DomainPolicy>>;
  /** Whether to dial the peers of the last run again, for a minute. Default true. */
  readonly redialKnownPeers?: boolean;
  /**
   * Whether to dial members that peers tell of, while this node has few links (fewer than 8, or than 3 to peers
   * interested in one of its domains). Only those that the transport admits are dialled. Default true.
   */
  readonly peerExchange?: boolean;
  /**
   * For each domain that has one, its roster: the ids of all nodes that write in it, this one included. It closes the
   * membership, as `majority`, `all` and `collect` need; every node must be given the same. Default: none.
   */
  readonly rosters?: Readonly<Record<string, readonly PeerId[]>>;
  /** How often the whole content is compared with a random peer, in milliseconds. Default 5 000. */
  readonly syncIntervalMs?: number;
  /** How often a changed group is snapshotted, in milliseconds; `false` for only when needed. Default 60 000. */
  readonly snapshotIntervalMs?: number | false;
  /** How long a loaded group that nobody has open stays in memory, in milliseconds. Default 60 000. */
  readonly idleGraceMs?: number;
  /** How often peers tell each other whom they hear, in milliseconds. Default 1 000. */
  readonly heartbeatMs?: number;
  readonly limits?: Partial<Limits>;
  /** Where the node logs: notices and links, and in detail (`debug`) loads, its own start and end. Default: nowhere. */
  readonly logger?: Logger;
  /** Called for what an operator may want to see. What it throws is logged. Default: ignored. */
  readonly onNotice?: (notice: Notice) => void;
  /** The wall clock, in Unix milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** {@link DomainPolicy} with every default filled in. */
export interface ResolvedPolicy {
  readonly durability: Durability | undefined;
  readonly snapshotIntervalMs: number | undefined;
}

/** {@link NodeOptions} with every default filled in. */
export interface ResolvedNodeOptions {
  readonly types: readonly AnyCrdtType[];
  readonly transport: Transport | undefined;
  /** Of domains that have none of their own. */
  readonly policy: ResolvedPolicy;
  readonly policies: ReadonlyMap<string, ResolvedPolicy>;
  readonly domains: readonly string[] | undefined;
  readonly rosters: ReadonlyMap<string, readonly PeerId[]>;
  readonly redialKnownPeers: boolean;
  readonly peerExchange: boolean;
  readonly syncIntervalMs: number;
  readonly idleGraceMs: number;
  readonly heartbeatMs: number;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly onNotice: (notice: Notice) => void;
  readonly now: () => number;
}

const OPTIONS: OptionNames<NodeOptions> = {
  types: true,
  storage: true,
  transport: true,
  durability: true,
  domains: true,
  policies: true,
  redialKnownPeers: true,
  peerExchange: true,
  rosters: true,
  syncIntervalMs: true,
  snapshotIntervalMs: true,
  idleGraceMs: true,
  heartbeatMs: true,
  limits: true,
  logger: true,
  onNotice: true,
  now: true,
};

const POLICY: OptionNames<DomainPolicy> = { durability: true, snapshotIntervalMs: true };

/** Checks options and fills in defaults. Throws `ReplicationError` `INVALID_OPTIONS`. */
export function resolveOptions(options: NodeOptions): ResolvedNodeOptions {
  checkNames("createNode", options, OPTIONS);
  if (!Array.isArray(options.types)) throw invalid("types must be a list of CRDT types, such as [gCounter]");
  for (const type of options.types) if (!isType(type)) throw invalid("types holds something that is not a CRDT type");
  const policy = checkPolicy("", options, { durability: undefined, snapshotIntervalMs: 60_000 });
  return {
    types: options.types,
    transport: checkTransport(options.transport),
    policy,
    policies: new Map(
      Object.entries(options.policies ?? {}).map(([domain, own]) => {
        const place = `policies[${JSON.stringify(domain)}]`;
        checkNames(place, own, POLICY);
        return [domain, checkPolicy(`${place}.`, own, policy)];
      }),
    ),
    domains: options.domains === undefined ? undefined : [...checkStrings("domains", options.domains)],
    rosters: new Map(
      Object.entries(options.rosters ?? {}).map(([domain, ids]) => {
        const roster = new Set(checkStrings(`rosters[${JSON.stringify(domain)}]`, ids));
        if (roster.size === 0) throw invalid(`rosters[${JSON.stringify(domain)}] names nobody`);
        return [domain, [...roster]];
      }),
    ),
    redialKnownPeers: options.redialKnownPeers ?? true,
    peerExchange: options.peerExchange ?? true,
    syncIntervalMs: checkInterval("syncIntervalMs", options.syncIntervalMs ?? 5000),
    idleGraceMs: checkInterval("idleGraceMs", options.idleGraceMs ?? 60_000),
    heartbeatMs: checkInterval("heartbeatMs", options.heartbeatMs ?? 1000),
    limits: checkLimits(options.limits ?? {}),
    logger: unfailing(checkLogger(options.logger ?? silentLogger)),
    onNotice: checkCallable("onNotice", options.onNotice ?? (() => {})),
    now: checkCallable("now", options.now ?? Date.now),
  };
}

/** Throws `TypeError` for what is no CRDT type. */
export function checkType(type: unknown): void {
  if (!isType(type)) throw new TypeError("not a CRDT type: give one such as gCounter or lwwMap()");
}

function isType(type: unknown): boolean {
  const { name, create, mutator } = (type ?? {}) as Partial<AnyCrdtType>;
  return typeof name === "string" && typeof create === "function" && typeof mutator === "function";
}

/** How the groups of a domain are kept. */
export function policyOf(options: ResolvedNodeOptions, domain: string): ResolvedPolicy {
  return options.policies.get(domain) ?? options.policy;
}

/** The members of a domain. */
export interface Roster {
  /** All of them but this node. */
  readonly others: readonly PeerId[];
  /** How many there are in all. */
  readonly size: number;
}

/** Throws `NO_MEMBERSHIP` where a domain has no roster. */
export function rosterOf(options: ResolvedNodeOptions, domain: string, self: PeerId): Roster {
  const ids = options.rosters.get(domain);
  if (ids !== undefined) return { others: ids.filter((id) => id !== self), size: ids.length };
  const message = `domain ${JSON.stringify(domain)} has no roster; give every node the option rosters`;
  throw new ReplicationError("NO_MEMBERSHIP", message);
}

/** Throws `INVALID_OPTIONS` for a group of a domain that the node does not replicate: it would be cut off from all others. */
export function checkDomain({ domains }: ResolvedNodeOptions, id: GroupId): void {
  if (domains?.includes(domainOf(id)) ?? true) return;
  const known = domains?.map((domain) => JSON.stringify(domain)).join(", ");
  throw invalid(`group ${formatGroupId(id)}: this node replicates the domains ${known} only; add that of the group`);
}

/** Whether a domain has a roster that does not name a node. */
export function isOutsider({ rosters }: ResolvedNodeOptions, domain: string, self: PeerId): boolean {
  return rosters.size > 0 && rosters.get(domain)?.includes(self) === false;
}

function checkPolicy(place: string, own: DomainPolicy, fallback: ResolvedPolicy): ResolvedPolicy {
  const { durability = fallback.durability, snapshotIntervalMs = fallback.snapshotIntervalMs } = own;
  if (durability !== undefined && !["snapshot", "log", "sync"].includes(durability)) {
    throw invalid(`${place}durability must be "snapshot", "log" or "sync", not ${JSON.stringify(durability)}`);
  }
  const isOff = snapshotIntervalMs === false || snapshotIntervalMs === undefined;
  const intervalMs = isOff ? undefined : checkInterval(`${place}snapshotIntervalMs`, snapshotIntervalMs);
  return { durability, snapshotIntervalMs: intervalMs };
}

function checkInterval(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 10 && value < 2 ** 31) return value;
  throw invalid(`${name} must be a number of milliseconds from 10 to 2147483647, not ${JSON.stringify(value)}`);
}

function checkLogger(logger: Logger): Logger {
  for (const level of ["debug", "info", "warn", "error"] as const) {
    if (typeof logger[level] !== "function") throw invalid(`logger has no method ${level}; a pino logger fits`);
  }
  return logger;
}

function checkLimits(own: Partial<Limits>): Limits {
  checkNames("limits", own, DEFAULT_LIMITS);
  for (const [name, value] of Object.entries(own)) {
    if (!Number.isSafeInteger(value) || value < 1) throw invalid(`limits.${name} must be a whole number above 0`);
  }
  return { ...DEFAULT_LIMITS, ...own };
}

function checkCallable<Fn extends (...args: never[]) => unknown>(name: string, value: Fn): Fn {
  if (typeof value === "function") return value;
  throw invalid(`${name} must be a function, not ${JSON.stringify(value)}`);
}

function checkTransport(transport: Transport | undefined): Transport | undefined {
  if (transport === undefined || typeof transport?.start === "function") return transport;
  throw invalid("transport must be one, such as libp2pTransport() or createMemoryNetwork().transport(name)");
}
