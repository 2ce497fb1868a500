import type { AnyCrdtType } from "@coppice/crdt";
import { fastifyWebsocket } from "@fastify/websocket";
import { type Node, ReplicationError } from "@coppice/replication";
import type { GroupStorage } from "@coppice/storage";
import { setMaxListeners } from "node:events";
import type { Server } from "node:http";
import type { FastifyInstance } from "fastify";
import type { Invites } from "../admission/invites.ts";
import { BrowserSessions } from "../auth/browser-sessions.ts";
import type { Scope } from "../auth/grant.ts";
import { TokenStore } from "../auth/token-store.ts";
import { ServerError } from "../error.ts";
import { bracketed, checkBind, hostNames, listen } from "./address.ts";
import { type TlsOptions, createApp, replaceCertificate } from "./app.ts";
import type { RouteContext } from "./context.ts";
import { type HttpLimits, checkLimits } from "./limits.ts";
import { Places } from "./places.ts";
import { addGuard } from "./guard.ts";
import { Metrics } from "./metrics.ts";
import { TypeRegistry } from "./operations.ts";
import { collectOpenApi } from "./openapi.ts";
import { Connections } from "./connections.ts";
import { DomainRegistry, type GatewayDomain } from "./domains.ts";
import { documentFormats } from "./document-formats.ts";
import { NoticeLog } from "./notice-log.ts";
import { assetRoutes } from "./routes/assets.ts";
import { automergeRoutes } from "./routes/automerge.ts";
import { browserSessionRoutes, dashboardRoutes } from "./routes/dashboard.ts";
import { documentRoutes } from "./routes/documents.ts";
import { domainRoutes } from "./routes/domains.ts";
import { exportRoutes } from "./routes/export.ts";
import { groupRoutes } from "./routes/groups.ts";
import { healthRoutes } from "./routes/health.ts";
import { inviteRoutes } from "./routes/invites.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { operationRoutes } from "./routes/operations.ts";
import { peerRoutes } from "./routes/peers.ts";
import { recoveryRoutes } from "./routes/recovery.ts";
import { snapshotRoutes } from "./routes/snapshots.ts";
import { socketRoutes } from "./routes/socket.ts";
import { statusRoutes } from "./routes/status.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { typeRoutes } from "./routes/types.ts";
import { verificationRoutes } from "./routes/verifications.ts";
import { viewRoutes } from "./routes/views.ts";
import { watchRoutes } from "./routes/watch.ts";
import { yjsRoutes } from "./routes/yjs.ts";
import { GOING_AWAY } from "./sockets.ts";
import { webSocketUpgrades } from "./upgrades.ts";
import { type View, Views } from "./views.ts";
import { WatchHub } from "./watch-hub.ts";

export interface GatewayOptions {
  readonly node: Node;
  /** The types that groups may have here, usually those that the node was created with. */
  readonly types: readonly AnyCrdtType[];
  /** The configured domains: a new group gets its domain's type when a request names none. Default: none. */
  readonly domains?: readonly GatewayDomain[];
  /** How a domain is kept that is not configured. Default: not known. */
  readonly describeDomain?: (name: string) => GatewayDomain;
  /** The tokens that are accepted: a store, or texts and what each allows; at least one. */
  readonly tokens: TokenStore | ReadonlyMap<string, Scope>;
  /** Where to listen. Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Further values of the `Host` header to answer for, with their port, such as `box.example:7475`. */
  readonly allowHosts?: readonly string[];
  /** Origins whose pages may call, such as `http://localhost:5173`. Default: none but this server's own. */
  readonly allowOrigins?: readonly string[];
  /** Serve HTTPS. Default: HTTP. */
  readonly tls?: TlsOptions;
  /** Listen where other machines can connect, though HTTP without TLS shows them token and data. Default false. */
  readonly allowRemote?: boolean;
  /** What callers may take. Defaults: see `LIMITS`. */
  readonly limits?: Partial<HttpLimits>;
  /** Longest wait for an acknowledgement that a request can ask for. Default 60 000. */
  readonly waitMsMax?: number;
  /** The storage of the node, for backups while it runs. Default: no `GET /v1/export`. */
  readonly storage?: GroupStorage;
  /** The notices that the dashboard shows; give its `add` to the node. Default: none. */
  readonly notices?: NoticeLog;
  /** What makes invites for peers. Default: none are made. */
  readonly invites?: Invites;
  /** Views to serve. Their loaders run before the server is reachable. Default: none. */
  readonly views?: readonly View[];
  /** The domain of the documents of automerge-repo clients. Default `automerge`. */
  readonly automergeDomain?: string;
  /** Whether the metrics include those of the process: memory, CPU, event loop. Default false. */
  readonly processMetrics?: boolean;
  /** Gets errors that are defects. Default: nobody. */
  readonly onError?: (error: unknown) => void;
}

const AUTOMERGE_DOMAIN = "automerge";
const SWEEP_MS = 50;
/** How long running requests may take when the server closes. Supervisors kill after ten seconds: the node needs some, too. */
const CLOSE_MS_MAX = 5000;
/** How long the other end of a WebSocket may take to close it, too: one that is gone without a word never does. */
const SOCKET_CLOSE_MS_MAX = 1000;

/** A node's HTTP server, running until `close()`. */
export class Gateway implements AsyncDisposable {
  /** Such as `http://127.0.0.1:7475`, or `https:…` with TLS. */
  readonly url: string;
  readonly #app: FastifyInstance;
  readonly #closing: AbortController;
  readonly #connections: Connections;

  /** @internal Use {@link startGateway}. */
  constructor(url: string, app: FastifyInstance, closing: AbortController, connections: Connections) {
    this.url = url;
    this.#app = app;
    this.#closing = closing;
    this.#connections = connections;
  }

  /**
   * Serves new connections with another certificate; those that are open go on. Returns when that ends. Throws
   * `INVALID_OPTIONS`, and keeps the former, for one that cannot be used or has ended.
   */
  renewCertificate(tls: TlsOptions): Date {
    return replaceCertificate(this.#app, tls);
  }

  /**
   * Stops listening, ends what waits, closes WebSockets (1001), and lets running requests finish, for five seconds;
   * idempotent. The node stays open.
   */
  async close(): Promise<void> {
    this.#closing.abort(new ReplicationError("CLOSED", "the server closes"));
    // Connections would be kept alive for another request.
    const sweep = setInterval(() => this.#connections.closeUnused(), SWEEP_MS);
    const force = setTimeout(() => this.#app.server.closeAllConnections(), CLOSE_MS_MAX);
    const sockets = [...this.#app.websocketServer.clients];
    for (const socket of sockets) socket.close(GOING_AWAY, "CLOSED");
    const cut = setTimeout(() => sockets.forEach((socket) => socket.terminate()), SOCKET_CLOSE_MS_MAX);
    try {
      await this.#app.close();
    } finally {
      clearInterval(sweep);
      clearTimeout(force);
      clearTimeout(cut);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Serves a node over HTTP with JSON. Every request needs a token, a known `Host`, and, from a page, a known `Origin`.
 *
 * Errors: `UNSAFE_BIND` for a host that is not loopback without `tls` or `allowRemote`; `ADDRESS_IN_USE`; `INVALID_OPTIONS`.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { host = "127.0.0.1", port = 0, tls, onError } = options;
  const limits = checkLimits(options.limits);
  const scheme = tls === undefined ? "http" : "https";
  const tokens = options.tokens instanceof TokenStore ? options.tokens : TokenStore.of(options.tokens);
  if (tokens.size === 0) throw new ServerError("INVALID_OPTIONS", "a gateway needs at least one token");
  checkBind(host, options.allowRemote === true || tls !== undefined);
  const closing = new AbortController();
  // One listener for each request that waits is no leak.
  setMaxListeners(0, closing.signal);
  const app = createApp({ limits, tls, onError });
  const connections = new Connections(app.server);
  // Before the guard: it destroys the socket of an upgrade that was refused, which it must know of by then.
  await app.register(fastifyWebsocket, {
    options: {
      // All that it does with a server is to listen for upgrades.
      server: webSocketUpgrades(app.server, connections) as Server,
      maxPayload: limits.messageBytesMax,
      handleProtocols: chooseProtocol,
    },
  });
  const hosts = new Set(options.allowHosts);
  const sessions = new BrowserSessions();
  addGuard(app, { tokens, sessions, limits, scheme, hosts: () => hosts, origins: new Set(options.allowOrigins) });
  const context: RouteContext = {
    node: options.node,
    types: new TypeRegistry(options.types),
    domains: new DomainRegistry(options.domains ?? [], options.describeDomain ?? ((name) => ({ name }))),
    closing: closing.signal,
    limits,
    watchers: new Places(limits.watchersMax, "watchers"),
    waitMsMax: options.waitMsMax ?? 60_000,
  };
  const views = new Views(options.node, options.views ?? []);
  addRoutes(app, context, options.processMetrics === true);
  tokenRoutes(app, tokens);
  dashboardRoutes(app, context, options.notices ?? new NoticeLog());
  let url = "";
  browserSessionRoutes(app, sessions, () => url);
  await assetRoutes(app);
  if (options.invites !== undefined) inviteRoutes(app, options.invites);
  viewRoutes(app, context, views);
  if (options.storage !== undefined) exportRoutes(app, context, options.storage);
  documentRoutes(app, context, await documentFormats(context.types));
  // Who has the type has the library, which is an optional dependency.
  if (context.types.find("yjs") !== undefined) {
    const [yjs, { checkYjsUpdate }] = await Promise.all([import("yjs"), import("@coppice/crdt/yjs")]);
    yjsRoutes(app, context, { ...yjs, checkYjsUpdate });
  }
  if (context.types.find("automerge") !== undefined) {
    automergeRoutes(app, context, await import("@automerge/automerge"), options.automergeDomain ?? AUTOMERGE_DOMAIN);
  }
  try {
    await views.load(closing.signal);
  } catch (error) {
    await app.close();
    throw error;
  }
  const bound = await listen(app, host, port);
  for (const name of hostNames(scheme, host, bound)) hosts.add(name);
  url = `${scheme}://${bracketed(host)}:${bound}`;
  return new Gateway(url, app, closing, connections);
}

/** Each family of routes has its file in `routes`. */
function addRoutes(app: FastifyInstance, context: RouteContext, processMetrics: boolean): void {
  const hub = new WatchHub(context);
  const metrics = new Metrics(context.node, context.watchers, processMetrics);
  metrics.observe(app);
  const document = collectOpenApi(app);
  app.get(
    "/v1/openapi.json",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: { summary: "This document", tags: ["node"], response: { 200: { type: "object" } } },
    },
    () => document,
  );
  healthRoutes(app, context);
  statusRoutes(app, context);
  groupRoutes(app, context);
  typeRoutes(app, context);
  domainRoutes(app, context);
  operationRoutes(app, context);
  recoveryRoutes(app, context);
  verificationRoutes(app, context);
  peerRoutes(app, context);
  snapshotRoutes(app, context);
  watchRoutes(app, context, hub);
  socketRoutes(app, context, hub);
  metricsRoutes(app, metrics);
}

/** Only the first is spoken; the token that may stand beside it is none. */
function chooseProtocol(protocols: Set<string>): string | false {
  return protocols.has("coppice") ? "coppice" : false;
}
