import { type AnyCrdtType, builtinTypes } from "@coppice/crdt";
import { type Node, type Notice, createNode } from "@coppice/replication";
import { libp2pTransport } from "@coppice/replication/libp2p";
import { type Damage, type GroupStorage, createGroupStore, formatGroupId } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { type Gateway, checkBind, startGateway } from "../http/gateway.ts";
import { VERSION } from "../version.ts";
import { loadViews } from "./view-modules.ts";
import { ensureToken, readTokenPath, removeEndpoint, tokenPath, writeEndpoint } from "./files.ts";
import type { Permission } from "../http/guard.ts";
import type { Log } from "./log.ts";

export interface DaemonOptions {
  /** The data directory. */
  readonly data: string;
  readonly listen: readonly string[];
  readonly peers: readonly string[];
  /** Who may connect: peer ids, by default those in `peers`, or anyone. */
  readonly allow: readonly string[] | "any" | undefined;
  /** The domains to replicate; undefined for all. */
  readonly domains: readonly string[] | undefined;
  readonly durability: "snapshot" | "log" | "sync";
  readonly snapshotIntervalMs: number | false;
  readonly syncIntervalMs: number;
  /** Modules that export `views`: paths or package names. */
  readonly views: readonly string[];
  /** Undefined: no HTTP. */
  readonly http: HttpOptions | undefined;
}

export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly allowHosts: readonly string[];
  readonly allowOrigins: readonly string[];
  readonly allowRemote: boolean;
}

/** Every type there is; those of documents where the libraries they stand on are installed. */
async function availableTypes(): Promise<readonly AnyCrdtType[]> {
  const types = [...builtinTypes];
  try {
    const { yjsDoc } = await import("@coppice/crdt/yjs");
    types.push(yjsDoc({}));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
  }
  return types;
}

/**
 * Runs one node until `stop` fires, then flushes and closes. Fails when the node cannot start, with the library's code;
 * whatever had started by then is closed again.
 */
export async function runDaemon(options: DaemonOptions, log: Log, stop: AbortSignal): Promise<void> {
  log("info", "starting", `coppice ${VERSION} starts on ${options.data}`, { version: VERSION, data: options.data });
  // Before anything is opened or created.
  if (options.http !== undefined) checkBind(options.http.host, options.http.allowRemote);
  const types = await availableTypes();
  const storage = createGroupStore(levelStorage(options.data), { onDamage: (damage) => logDamage(damage, log) });
  const node = await openNode(options, types, storage, log, stop);
  try {
    const gateway = await openGateway(options, { node, types, storage }, log);
    try {
      announce(options, node, gateway, log);
      await fired(stop);
      log("info", "stopping", "stopping: flushing and closing (a second signal forces)", {
        signal: stop.reason instanceof Error ? stop.reason.message : String(stop.reason),
      });
    } finally {
      await gateway?.close();
    }
  } finally {
    await removeEndpoint(options.data);
    await node.close();
  }
  log("info", "stopped", "stopped");
}

async function openNode(
  options: DaemonOptions,
  types: readonly AnyCrdtType[],
  storage: GroupStorage,
  log: Log,
  signal: AbortSignal,
): Promise<Node> {
  const { listen, peers, allow, domains, durability, snapshotIntervalMs, syncIntervalMs } = options;
  const transport = libp2pTransport({ listen, peers, ...(allow === undefined ? {} : { allow }) });
  return await createNode(
    {
      types,
      storage,
      transport,
      durability,
      ...(domains === undefined ? {} : { domains }),
      snapshotIntervalMs,
      syncIntervalMs,
      onNotice: (notice) => logNotice(notice, log),
    },
    { signal },
  );
}

function logDamage({ id, record, action, reason }: Damage, log: Log): void {
  const group = id === undefined ? "" : formatGroupId(id);
  const about = { code: "STORAGE_DAMAGED", group, record, action, reason };
  log(
    "warn",
    "notice",
    `the ${record} record of ${group || "the node"} was ${action}: ${reason} (STORAGE_DAMAGED)`,
    about,
  );
}

function logNotice({ code, message, peer }: Notice, log: Log): void {
  log("warn", "notice", `${message} (${code})`, { code, ...(peer === undefined ? {} : { peer }) });
}

async function openGateway(
  options: DaemonOptions,
  served: { readonly node: Node; readonly types: readonly AnyCrdtType[]; readonly storage: GroupStorage },
  log: Log,
): Promise<Gateway | undefined> {
  const { http, data } = options;
  if (http === undefined) {
    // A run that was killed may have left one.
    await removeEndpoint(data);
    return undefined;
  }
  const tokens = new Map<string, Permission>([
    [await ensureToken(readTokenPath(data)), "read"],
    [await ensureToken(tokenPath(data)), "write"],
  ]);
  const gateway = await startGateway({
    ...http,
    ...served,
    views: await loadViews(options.views),
    tokens,
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

function announce(options: DaemonOptions, node: Node, gateway: Gateway | undefined, log: Log): void {
  let groups = 0;
  for (const group of node.groups()) if (group.phase !== "deleted") groups++;
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
