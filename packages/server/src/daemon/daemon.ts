import type { AnyCrdtType } from "@coppice/crdt";
import { type DomainPolicy, type Logger, type Node, createNode } from "@coppice/replication";
import { libp2pTransport } from "@coppice/replication/libp2p";
import { type Damage, type Domains, type GroupStorage, formatGroupId } from "@coppice/storage";
import { ServerError } from "../error.ts";
import type { GatewayDomain } from "../http/domains.ts";
import { checkBind } from "../http/address.ts";
import { NoticeLog } from "../http/notice-log.ts";
import { type Gateway, startGateway } from "../http/gateway.ts";
import type { View } from "../http/views.ts";
import { VERSION } from "../version.ts";
import { loadViews } from "./view-modules.ts";
import { makePrivateDirectory } from "@coppice/storage/private-file";
import type { TlsOptions } from "../http/app.ts";
import { followCertificate } from "./certificate.ts";
import type { Invite } from "../admission/invite-text.ts";
import { TokenStore } from "../auth/token-store.ts";
import type { DomainSettings } from "./domain-settings.ts";
import type { HttpOptions } from "./http-settings.ts";
import { type Layout, checkFormerHome, createStorage, movedStorages, readLayout, writeLayout } from "./layout.ts";
import { availableTypes, checkDomainTypes } from "./types.ts";
import { namingHolder, readTokenPath, removeEndpoint, tokenPath, writeEndpoint } from "./files.ts";
import { keepPorts, withFormerPorts } from "./listen-ports.ts";
import { Invites } from "../admission/invites.ts";
import { type Membership, openMembership } from "./membership.ts";
import type { Log, LogLevel } from "./log.ts";

export interface DaemonOptions {
  /** The data directory. */
  readonly data: string;
  readonly listen: readonly string[];
  readonly peers: readonly string[];
  /** Who may connect: peer ids, by default those in `peers`, or anyone. */
  readonly allow: readonly string[] | "any" | undefined;
  /** Whether members may introduce peers that came to them by an invite. */
  readonly introductions: boolean;
  /** Whether to find peers on the local network. */
  readonly mdns: boolean;
  /** An invite to join with. */
  readonly invite: Invite | undefined;
  /** A file with the key of a private network. */
  readonly networkKeyFile: string | undefined;
  /** Where groups are stored. */
  readonly layout: Layout;
  readonly domains: ReadonlyMap<string, DomainSettings>;
  /** The domains to replicate; undefined for all. */
  readonly interest: readonly string[] | undefined;
  readonly durability: "snapshot" | "log" | "sync";
  readonly snapshotIntervalMs: number | false;
  readonly syncIntervalMs: number;
  /** Modules that export `views`: paths or package names. */
  readonly views: readonly string[];
  /** Undefined: no HTTP. */
  readonly http: HttpOptions | undefined;
}

/**
 * Runs one node until `stop` fires, then flushes and closes. Fails when the node cannot start, with the library's code;
 * whatever had started by then is closed again.
 */
export async function runDaemon(options: DaemonOptions, log: Log, stop: AbortSignal): Promise<void> {
  log("info", "starting", `coppice ${VERSION} starts on ${options.data}`, { version: VERSION, data: options.data });
  // Before anything is opened or created.
  const { http } = options;
  if (http !== undefined) checkBind(http.host, http.allowRemote || http.tls !== undefined);
  const types = await availableTypes();
  checkDomainTypes(options.domains, types);
  const views = http === undefined ? [] : await loadViews(options.views);
  const notices = new NoticeLog();
  const storage = await openLayout(options, notices, log);
  const membership = await openMembership(options, log);
  const listen = await withFormerPorts(options.data, options.listen);
  const node = await openNode(
    { options: { ...options, listen }, types, storage, membership, notices },
    log,
    stop,
  ).catch(async (error: unknown) => {
    throw await namingHolder(options.data, error);
  });
  try {
    await membership.keep();
    await writeLayout(options.data, options.layout);
    await keepPorts(options.data, options.listen, node.addresses());
    const { admission, interest, networkKey } = membership;
    const invites = new Invites(admission, node, interest, networkKey);
    const gateway = await openGateway(options, { node, types, storage, invites, notices, views }, log);
    const unfollow = gateway === undefined ? undefined : followRenewals(http, gateway, log);
    try {
      announce(options, node, gateway, log);
      await fired(stop);
      log("info", "stopping", "stopping: flushing and closing (a second signal forces)", {
        signal: stop.reason instanceof Error ? stop.reason.message : String(stop.reason),
      });
    } finally {
      unfollow?.();
      await gateway?.close();
    }
  } finally {
    await removeEndpoint(options.data);
    await node.close();
  }
  log("info", "stopped", "stopped");
}

/** The storage that the settings ask for; they are left in the directory for commands that run without the node. */
async function openLayout({ data, layout }: DaemonOptions, notices: NoticeLog, log: Log): Promise<Domains> {
  const storage = await createStorage(data, layout, {
    onDamage: (damage) => logDamage(damage, notices, log),
    onError: (error) =>
      log("error", "save-failed", `a domain in memory was not saved, and will be again: ${error.message}`),
  });
  await makePrivateDirectory(data);
  const before = (await formerLayout(data, log)) ?? layout;
  await checkFormerHome(data, before, layout);
  for (const moved of movedStorages(data, before, layout)) {
    const advice = "to take groups along, export them with the former settings, and import them here";
    log("warn", "storage-moved", `${moved}: what was there stays there; ${advice}`);
  }
  return storage;
}

/** The layout of the last start; undefined when there was none, or it cannot be read. */
async function formerLayout(data: string, log: Log): Promise<Layout | undefined> {
  try {
    return await readLayout(data);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    log("warn", "layout-damaged", error.message);
    return undefined;
  }
}

function rostersOf(domains: ReadonlyMap<string, DomainSettings>): Record<string, readonly string[]> {
  return Object.fromEntries(
    [...domains].flatMap(([name, { roster }]) => (roster === undefined ? [] : [[name, roster]])),
  );
}

function policiesOf(domains: ReadonlyMap<string, DomainSettings>): Record<string, DomainPolicy> {
  const policies = [...domains].map(([name, { durability, snapshotInterval }]): [string, DomainPolicy] => [
    name,
    {
      ...(durability === undefined ? {} : { durability }),
      ...(snapshotInterval === undefined
        ? {}
        : { snapshotIntervalMs: snapshotInterval === false ? false : snapshotInterval * 1000 }),
    },
  ]);
  return Object.fromEntries(policies);
}

interface NodeParts {
  readonly options: DaemonOptions;
  readonly types: readonly AnyCrdtType[];
  readonly storage: GroupStorage;
  readonly membership: Membership;
  readonly notices: NoticeLog;
}

async function openNode(
  { options, types, storage, membership, notices }: NodeParts,
  log: Log,
  signal: AbortSignal,
): Promise<Node> {
  const { listen, allow, mdns, durability, snapshotIntervalMs, syncIntervalMs } = options;
  const { admission, peers, interest, networkKey, invitation } = membership;
  const transport = libp2pTransport({
    listen,
    peers,
    mdns,
    admission,
    ...(invitation === undefined ? {} : { invitation }),
    ...(allow === undefined ? {} : { allow }),
    ...(networkKey === undefined ? {} : { networkKey }),
  });
  return await createNode(
    {
      types,
      storage,
      transport,
      durability,
      policies: policiesOf(options.domains),
      rosters: rostersOf(options.domains),
      ...(interest === undefined ? {} : { domains: interest }),
      snapshotIntervalMs,
      syncIntervalMs,
      logger: nodeLogger(log),
      onNotice: (notice) => notices.add(notice),
    },
    { signal },
  );
}

function logDamage({ id, record, action, reason }: Damage, notices: NoticeLog, log: Log): void {
  const group = id === undefined ? "" : formatGroupId(id);
  const code = "STORAGE_DAMAGED";
  const what =
    record === "engine" ? "a file of the storage's engine" : `the ${record} record of ${group || "the node"}`;
  const message = `${what} was ${action}: ${reason}`;
  notices.add({ code, message });
  log("warn", "notice", `${message} (${code})`, { code, group, record, action, reason });
}

/** The node logs into the daemon's log: notices with their code, and peers that come and go. */
function nodeLogger(log: Log): Logger {
  const at =
    (level: LogLevel) =>
    (fields: { event?: string; code?: string }, message: string): void => {
      const { event = "notice", ...rest } = fields;
      log(level, event, rest.code === undefined ? message : `${message} (${rest.code})`, rest);
    };
  return { debug() {}, info: at("info"), warn: at("warn"), error: at("error") };
}

/** What the server tells of a domain. */
function describeDomain(options: DaemonOptions, storage: Domains, name: string): GatewayDomain {
  const { type, durability = options.durability, snapshotInterval } = options.domains.get(name) ?? {};
  const { adapter, inMemory, autoSaveMs } = storage.domainConfig(name);
  const ownMs = snapshotInterval === undefined || snapshotInterval === false ? false : snapshotInterval * 1000;
  const snapshotIntervalMs = snapshotInterval === undefined ? options.snapshotIntervalMs : ownMs;
  return {
    name,
    type,
    storage: adapter.name,
    durability: adapter.capabilities.durable ? durability : "snapshot",
    snapshotIntervalMs: snapshotIntervalMs === false ? undefined : snapshotIntervalMs,
    inMemory,
    autoSaveMs: inMemory && autoSaveMs !== "never" ? autoSaveMs : undefined,
    isReplicated: options.interest?.includes(name) ?? true,
  };
}

async function openGateway(
  options: DaemonOptions,
  served: {
    readonly node: Node;
    readonly types: readonly AnyCrdtType[];
    readonly storage: Domains;
    readonly invites: Invites;
    readonly notices: NoticeLog;
    readonly views: readonly View[];
  },
  log: Log,
): Promise<Gateway | undefined> {
  const { http, data } = options;
  if (http === undefined) {
    // A run that was killed may have left one.
    await removeEndpoint(data);
    return undefined;
  }
  const describe = (name: string): GatewayDomain => describeDomain(options, served.storage, name);
  const gateway = await startGateway({
    ...http,
    ...served,
    domains: [...options.domains.keys()].map(describe),
    describeDomain: describe,
    tokens: await TokenStore.open(data),
    processMetrics: true,
    onError: (error) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      log("error", "request-failed", `a request failed: ${text}`);
    },
  });
  try {
    await writeEndpoint(data, { url: gateway.url, pid: process.pid, peerId: served.node.id });
  } catch (error) {
    await gateway.close();
    throw error;
  }
  return gateway;
}

/** A renewed certificate is served without a restart; returns how to stop that, where there is one. */
function followRenewals(http: HttpOptions | undefined, gateway: Gateway, log: Log): (() => void) | undefined {
  if (http?.tls === undefined || http.tlsFiles === undefined) return undefined;
  const renew = (tls: TlsOptions): Date => gateway.renewCertificate(tls);
  return followCertificate({ files: http.tlsFiles, current: http.tls, renew, log });
}

function announce(options: DaemonOptions, node: Node, gateway: Gateway | undefined, log: Log): void {
  const groups = [...node.countGroups().values()].reduce((sum, count) => sum + count, 0);
  const addresses = node.addresses();
  const tokenFile = tokenPath(options.data);
  const readTokenFile = readTokenPath(options.data);
  const lines = [
    `ready with ${groups} stored ${groups === 1 ? "group" : "groups"}`,
    `peer id    ${node.id}`,
    ...addresses.map((address) => `address    ${address}`),
    ...(gateway === undefined ? ["http       off"] : [`http       ${gateway.url}`, `token      ${tokenFile}`]),
  ];
  const http = gateway === undefined ? {} : { url: gateway.url, tokenFile, readTokenFile };
  log("info", "ready", lines.join("\n"), { peerId: node.id, addresses, ...http, groups, pid: process.pid });
}

async function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
