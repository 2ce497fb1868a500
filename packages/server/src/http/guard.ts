/**
 * What every request must pass before anything else looks at it. Loopback keeps other machines out but not web pages
 * open on this one, so the guard trusts nothing that a page can send by itself: a page cannot know the token, cannot
 * choose the `Host` that a rebound DNS name leads to, cannot hide its `Origin`, and cannot declare JSON without a
 * preflight.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ServerError } from "../error.ts";

/** What a token allows. */
export type Permission = "read" | "write";

export interface GuardOptions {
  /** The tokens, and what each allows. */
  readonly tokens: ReadonlyMap<string, Permission>;
  /** The `Host` headers that are answered, with their port; exact. */
  hosts(): ReadonlySet<string>;
  /** The origins that may call, beside those of `hosts`; exact. */
  readonly origins: ReadonlySet<string>;
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** What the token must allow; by default `read` for GET and HEAD, otherwise `write`. */
    readonly permission?: Permission;
  }
}

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/** What routes can ask of the guard. */
export interface Guard {
  /** What the token of a request allows now; undefined once it is no token any more. */
  permissionOf(request: FastifyRequest): Permission | undefined;
}

/** Puts the guard before every route of `app`, unknown ones included. */
export function addGuard(app: FastifyInstance, options: GuardOptions): Guard {
  const guard: Guard = {
    permissionOf: (request) => {
      const token = tokenOf(request);
      return token === undefined ? undefined : lookUp(token, options.tokens);
    },
  };
  app.addHook("onRequest", (request, reply, done) => {
    checkHost(request, options);
    checkOrigin(request, reply, options);
    if (isPreflight(request)) {
      answerPreflight(reply);
      return;
    }
    checkToken(request, guard);
    checkMediaType(request);
    done();
  });
  return guard;
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
  const own = origin.startsWith("http://") && options.hosts().has(origin.slice("http://".length));
  if (!own && !options.origins.has(origin)) {
    throw new ServerError(
      "ORIGIN_NOT_ALLOWED",
      `pages of ${JSON.stringify(origin)} may not call this server; allow them with --allow-origin`,
    );
  }
  void reply.header("access-control-allow-origin", origin).header("vary", "origin");
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
    .header("access-control-allow-headers", "authorization, content-type, if-none-match, last-event-id")
    .header("access-control-max-age", "600")
    .send();
}

function checkToken(request: FastifyRequest, guard: Guard): void {
  if (tokenOf(request) === undefined) {
    throw new ServerError("UNAUTHORIZED", 'send the token as "Authorization: Bearer TOKEN"');
  }
  const permission = guard.permissionOf(request);
  if (permission === undefined) throw new ServerError("UNAUTHORIZED", "the token is not one of this server's");
  const needed = request.routeOptions.config.permission ?? (SAFE_METHODS.has(request.method) ? "read" : "write");
  if (needed === "write") requireWrite(permission);
}

/** Throws `FORBIDDEN` for what allows reading only. */
export function requireWrite(permission: Permission | undefined): void {
  if (permission !== "write") throw new ServerError("FORBIDDEN", "this token allows reading only");
}

function tokenOf(request: FastifyRequest): string | undefined {
  const { authorization, upgrade } = request.headers;
  const bearer = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
  if (bearer !== undefined || upgrade?.toLowerCase() !== "websocket") return bearer;
  // A page can give a WebSocket no headers but its subprotocols.
  return /(?:^|,)\s*bearer\.([\w-]+)/.exec(request.headers["sec-websocket-protocol"] ?? "")?.[1];
}

function lookUp(given: string, tokens: GuardOptions["tokens"]): Permission | undefined {
  // Digests are of one length, whatever is given.
  const hash = digest(given);
  let found: Permission | undefined;
  // Every token is compared, so the time taken tells nothing about which one came close.
  for (const [token, permission] of tokens) if (timingSafeEqual(digest(token), hash)) found = permission;
  return found;
}

/** Without a declared JSON body a form of a foreign page could post. */
function checkMediaType(request: FastifyRequest): void {
  if (request.method !== "POST" && request.method !== "PUT" && request.method !== "PATCH") return;
  const type = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/json") return;
  throw new ServerError("UNSUPPORTED_MEDIA_TYPE", 'the body must be declared as "Content-Type: application/json"');
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
