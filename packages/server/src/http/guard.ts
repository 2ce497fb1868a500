/**
 * What every request must pass before anything else looks at it. Loopback keeps other machines out but not web pages
 * open on this one, so the guard trusts nothing that a page can send by itself: a page cannot know the token, cannot
 * choose the `Host` that a rebound DNS name leads to, cannot hide its `Origin`, and cannot declare JSON without a
 * preflight.
 */
import { parseGroupId } from "@coppice/storage";
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import type { BrowserSessions } from "../auth/browser-sessions.ts";
import type { Grant, Scope } from "../auth/grant.ts";
import type { TokenStore } from "../auth/token-store.ts";
import { ServerError } from "../error.ts";
import type { UrlScheme } from "./address.ts";
import { cookieOf } from "./cookies.ts";
import type { HttpLimits } from "./limits.ts";
import { RateLimiter, addressKey } from "./rate-limiter.ts";

export interface GuardOptions {
  readonly tokens: TokenStore;
  readonly sessions: BrowserSessions;
  readonly limits: HttpLimits;
  /** Of the server's own origins. */
  readonly scheme: UrlScheme;
  /** The `Host` headers that are answered, with their port; exact. */
  hosts(): ReadonlySet<string>;
  /** The origins that may call, beside those of `hosts`; exact. */
  readonly origins: ReadonlySet<string>;
}

/** What a route needs of a token. */
export interface Need {
  readonly scope: Scope;
  /**
   * `group`: the token must be good for the domain of the group that the parameter `id` names. `node`: it must be good
   * for every domain. `any`: its domains make no difference, or the route itself looks at them.
   */
  readonly over: "group" | "node" | "any";
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** Every route says what it needs; `nothing` means not even a token. */
    readonly needs?: Need | "nothing";
    /** The media type of its body; by default JSON. */
    readonly accepts?: "application/octet-stream";
    /** Whether it is a WebSocket, and nothing else. */
    readonly isSocket?: boolean;
    /** Whether it is a file of the dashboard and not part of the interface. */
    readonly isAsset?: boolean;
    /** Whether the token may also stand in the URL, for clients that can send it nowhere else. */
    readonly takesTokenInQuery?: boolean;
  }
  interface FastifyRequest {
    /** What the caller may do; streams ask it again for each message. Only where a token is needed. */
    grant: Grant;
  }
}

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD"]);
/** For what is no route: whoever has a token is told so. */
const NEED_OF_NOTHING: Need = { scope: "read", over: "any" };

/** Puts the guard before every route of `app`, unknown ones included, and demands that each says what it needs. */
export function addGuard(app: FastifyInstance, options: GuardOptions): void {
  app.decorateRequest("grant");
  app.addHook("onRoute", checkDeclared);
  const { limits } = options;
  const perAddress = new RateLimiter(limits.requestsPerSecondPerAddress, 1000);
  const perToken = new RateLimiter(limits.requestsPerSecond, 1000);
  const failures = new RateLimiter(limits.failuresPerMinute, 60_000);
  app.addHook("onRequest", (request, reply, done) => {
    perAddress.check(addressKey(request.ip), "requests from this address");
    checkHost(request, options);
    checkOrigin(request, reply, options);
    if (isPreflight(request)) {
      answerPreflight(reply);
      return;
    }
    const needs = request.routeOptions.config.needs ?? NEED_OF_NOTHING;
    if (needs !== "nothing") {
      request.grant = authenticate(request, options, failures);
      perToken.check(request.grant.info.id, "requests with this token");
      authorize(request, needs);
    }
    // What is no route is told as such.
    if (!request.is404) {
      checkMediaType(request);
      checkUpgrade(request);
    }
    done();
  });
}

function checkDeclared(route: RouteOptions): void {
  if (route.config?.needs === undefined) throw new TypeError(`the route ${route.url} must declare what it needs`);
}

function checkHost(request: FastifyRequest, options: GuardOptions): void {
  const host = request.headers.host;
  if (host !== undefined && options.hosts().has(host)) return;
  throw new ServerError(
    "HOST_NOT_ALLOWED",
    `this server does not answer for the host ${JSON.stringify(host ?? "")}; allow it with --allow-host`,
  );
}

function checkOrigin(request: FastifyRequest, reply: FastifyReply, options: GuardOptions): void {
  const { origin } = request.headers;
  if (origin === undefined) return;
  const scheme = `${options.scheme}://`;
  const own = origin.startsWith(scheme) && options.hosts().has(origin.slice(scheme.length));
  if (!own && !options.origins.has(origin)) {
    throw new ServerError(
      "ORIGIN_NOT_ALLOWED",
      `pages of ${JSON.stringify(origin)} may not call this server; allow them with --allow-origin`,
    );
  }
  void reply
    .header("access-control-allow-origin", origin)
    .header("access-control-expose-headers", "etag, retry-after, session-token")
    .header("vary", "origin");
}

/** A preflight carries no token; the origin it asks for has been checked. */
function isPreflight(request: FastifyRequest): boolean {
  const { origin } = request.headers;
  return (
    request.method === "OPTIONS" &&
    origin !== undefined &&
    request.headers["access-control-request-method"] !== undefined
  );
}

function answerPreflight(reply: FastifyReply): void {
  void reply
    .code(204)
    .header("access-control-allow-methods", "GET, POST, DELETE")
    .header("access-control-allow-headers", "authorization, content-type, if-none-match, last-event-id, session-token")
    .header("access-control-max-age", "600")
    .send();
}

/** Who has a right token is never kept waiting by those who try wrong ones. */
function authenticate(request: FastifyRequest, options: GuardOptions, failures: RateLimiter): Grant {
  const token = tokenOf(request);
  const grant = token === undefined ? fromCookie(request, options.sessions) : options.tokens.identify(token);
  if (grant !== undefined) return grant;
  failures.check(addressKey(request.ip), "requests without a right token");
  if (token === undefined) throw new ServerError("UNAUTHORIZED", 'send the token as "Authorization: Bearer TOKEN"');
  throw new ServerError("UNAUTHORIZED", "the token is not one of this server's");
}

/** A cookie goes along with what other pages ask for, so it must only read, and only for pages of this server. */
function fromCookie(request: FastifyRequest, sessions: BrowserSessions): Grant | undefined {
  const site = request.headers["sec-fetch-site"];
  if (!SAFE_METHODS.has(request.method) || request.headers.upgrade !== undefined) return undefined;
  if (site !== undefined && site !== "same-origin" && site !== "none") return undefined;
  const secret = cookieOf(request);
  return secret === undefined ? undefined : sessions.find(secret);
}

function authorize({ grant, params }: FastifyRequest, { scope, over }: Need): void {
  grant.require(scope);
  if (over === "node") grant.requireUnlimited();
  // A token for everything needs no look at the id, which the route reads anyhow.
  if (over === "group" && !grant.isUnlimited) grant.require(scope, parseGroupId((params as { id: string }).id));
}

function tokenOf(request: FastifyRequest): string | undefined {
  const { authorization, upgrade } = request.headers;
  const bearer = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
  if (bearer !== undefined || upgrade?.toLowerCase() !== "websocket") return bearer;
  // A page can give a WebSocket no headers but its subprotocols.
  const offered = /(?:^|,)\s*bearer\.([\w-]+)/.exec(request.headers["sec-websocket-protocol"] ?? "")?.[1];
  if (offered !== undefined || request.routeOptions.config.takesTokenInQuery !== true) return offered;
  const { token } = request.query as { readonly token?: unknown };
  return typeof token === "string" ? token : undefined;
}

/** Without a declared type that forms cannot have, a form of a foreign page could post. */
function checkMediaType(request: FastifyRequest): void {
  if (request.method !== "POST" && request.method !== "PUT" && request.method !== "PATCH") return;
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    throw new ServerError("UNSUPPORTED_MEDIA_TYPE", `a body is not taken in the encoding ${JSON.stringify(encoding)}`);
  }
  const type = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  const wanted = request.routeOptions.config.accepts ?? "application/json";
  if (type === wanted) return;
  throw new ServerError("UNSUPPORTED_MEDIA_TYPE", `the body must be declared as "Content-Type: ${wanted}"`);
}

function checkUpgrade({ method, routeOptions, ws }: FastifyRequest): void {
  const isSocket = routeOptions.config.isSocket === true;
  if (isSocket === ws) return;
  const what = `${method} ${routeOptions.url ?? ""}`;
  const reason = isSocket
    ? `${what} is a WebSocket: connect with one; a proxy must pass on "Upgrade" and "Connection"`
    : `${what} is no WebSocket`;
  throw new ServerError("INVALID_REQUEST", reason);
}
