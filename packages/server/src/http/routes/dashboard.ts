/** What the dashboard asks for, beside what every caller can. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type BrowserSessions, SESSION_MS } from "../../auth/browser-sessions.ts";
import { ServerError } from "../../error.ts";
import { groupBody } from "../api.ts";
import { Census } from "../census.ts";
import { type CatalogueQuery, SORTS, type Sort, listCatalogue } from "../catalogue.ts";
import { type RouteContext, findGroup } from "../context.ts";
import { cookieOf, sessionCookieName } from "../cookies.ts";
import type { NoticeLog } from "../notice-log.ts";
import { OverviewFeed } from "../overview.ts";
import { group, groupIdParams, numberInQuery } from "../schemas.ts";
import { EventStream } from "../event-stream.ts";

const PAGE_DEFAULT = 50;
const PAGE_MAX = 200;
const NEEDS = { scope: "read", over: "node" } as const;
const TAGS = ["dashboard"];
const NO_CONTENT = { 204: { type: "null" } } as const;
const EMPTY_BODY = { type: "object", additionalProperties: false } as const;

interface GroupsQuery {
  readonly search?: string;
  readonly sort?: Sort;
  readonly order?: "asc" | "desc";
  readonly offset?: string;
  readonly limit?: string;
}

const groupsQuerySchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    search: { type: "string", maxLength: 256, description: "A part of the id, or of the type's name" },
    sort: { type: "string", enum: SORTS, description: "By default `id`" },
    order: { type: "string", enum: ["asc", "desc"], description: "By default `asc`" },
    offset: numberInQuery("Groups to leave out before the page"),
    limit: numberInQuery(`Groups in a page, at most ${PAGE_MAX}, by default ${PAGE_DEFAULT}`),
  },
} as const;

const groupsSchema = {
  type: "object",
  required: ["total", "groups"],
  additionalProperties: false,
  properties: {
    total: { type: "integer", description: "On all pages" },
    groups: {
      type: "array",
      items: {
        ...group,
        required: [...group.required, "lagEvents", "stuck"],
        properties: { ...group.properties, lagEvents: { type: "integer" }, stuck: { type: "boolean" } },
      },
    },
  },
} as const;

const detailsSchema = {
  type: "object",
  required: [
    "group",
    "vector",
    "members",
    "lagEvents",
    "lagMs",
    "stuck",
    "paused",
    "bytesIn",
    "bytesOut",
    "comparedAt",
  ],
  additionalProperties: false,
  properties: {
    group,
    vector: {
      type: "array",
      description: "Events known of each actor, most first",
      items: {
        type: "object",
        required: ["actor", "events"],
        additionalProperties: false,
        properties: { actor: { type: "string" }, events: { type: "integer" } },
      },
    },
    members: {
      type: "array",
      items: { type: "string" },
      description: "The nodes that have it: this one and linked peers",
    },
    lagEvents: { type: "integer" },
    lagMs: { type: "number" },
    stuck: { type: "boolean" },
    paused: { type: "boolean" },
    bytesIn: { type: "integer" },
    bytesOut: { type: "integer" },
    comparedAt: { type: ["string", "null"], description: "When a peer was last found to hold the same" },
  },
} as const;

export function dashboardRoutes(app: FastifyInstance, context: RouteContext, notices: NoticeLog): void {
  const census = new Census(context.node);
  const feed = new OverviewFeed(context, census, notices);
  app.get<{ Querystring: GroupsQuery }>(
    "/v1/dashboard/groups",
    {
      config: { needs: NEEDS },
      schema: {
        summary: "Groups that match, in any order, page by page",
        tags: TAGS,
        querystring: groupsQuerySchema,
        response: { 200: groupsSchema },
      },
    },
    async ({ query }) => {
      const { total, groups } = listCatalogue(await census.take(), readQuery(query));
      const present = groups.map(({ id }) => context.node.group(id)).filter((status) => status !== undefined);
      return {
        total,
        groups: present.map((status) => ({
          ...groupBody(status),
          lagEvents: status.lagEvents,
          stuck: status.isStuck,
        })),
      };
    },
  );
  app.get<{ Params: { readonly id: string } }>(
    "/v1/dashboard/groups/:id",
    {
      config: { needs: NEEDS },
      schema: {
        summary: "A group with its version vector and members",
        tags: TAGS,
        params: groupIdParams,
        response: { 200: detailsSchema },
      },
    },
    ({ params }) => details(context, params.id),
  );
  app.get(
    "/v1/dashboard/stream",
    {
      exposeHeadRoute: false,
      config: { needs: NEEDS },
      schema: {
        summary: "Server-sent events: an overview of the node every two seconds",
        tags: TAGS,
        response: { 200: { description: "A stream of `overview` events", type: "string" } },
        produces: ["text/event-stream"],
      },
    },
    ({ grant }, reply) => {
      const leave = context.watchers.take();
      const stream = new EventStream(reply, context.limits.stalledMs);
      let stop = (): void => undefined;
      const closed = (): void => {
        stop();
        leave();
        context.closing.removeEventListener("abort", end);
      };
      const end = (): void => stream.end();
      context.closing.addEventListener("abort", end, { once: true });
      stream.begin(grant, { closed });
      stop = feed.subscribe((json) => void stream.send("overview", json));
    },
  );
}

/** Signing in and out. */
export function browserSessionRoutes(app: FastifyInstance, sessions: BrowserSessions, baseUrl: () => string): void {
  app.post(
    "/v1/dashboard/sessions",
    {
      config: { needs: NEEDS },
      schema: {
        summary: "Signs a browser in: sets a cookie that reads",
        tags: TAGS,
        body: EMPTY_BODY,
        response: NO_CONTENT,
      },
    },
    (request, reply) => signIn(request, reply, sessions.begin(request.grant)),
  );
  app.delete(
    "/v1/dashboard/sessions",
    {
      config: { needs: "nothing" },
      schema: { summary: "Signs the browser out", tags: TAGS, response: NO_CONTENT },
    },
    (request, reply) => {
      const secret = cookieOf(request);
      if (secret !== undefined) sessions.end(secret);
      return setCookie(request, reply, "", 0).code(204).send();
    },
  );
  app.post(
    "/v1/dashboard/links",
    {
      config: { needs: NEEDS },
      schema: {
        summary: "Makes a link that signs in whoever opens it first, for a minute",
        tags: TAGS,
        body: EMPTY_BODY,
        response: {
          200: {
            type: "object",
            required: ["url"],
            additionalProperties: false,
            properties: { url: { type: "string" } },
          },
        },
      },
    },
    ({ grant }) => ({ url: `${baseUrl()}/#code=${sessions.link(grant)}` }),
  );
  app.post<{ Body: { readonly code: string } }>(
    "/v1/dashboard/links/open",
    {
      config: { needs: "nothing" },
      schema: {
        summary: "Signs a browser in by a link",
        tags: TAGS,
        body: {
          type: "object",
          required: ["code"],
          additionalProperties: false,
          properties: { code: { type: "string", maxLength: 64 } },
        },
        response: NO_CONTENT,
      },
    },
    (request, reply) => {
      const secret = sessions.open(request.body.code);
      if (secret === undefined) throw new ServerError("UNAUTHORIZED", "the link was used already, or has ended");
      return signIn(request, reply, secret);
    },
  );
}

function signIn(request: FastifyRequest, reply: FastifyReply, secret: string): FastifyReply {
  return setCookie(request, reply, secret, SESSION_MS / 1000)
    .code(204)
    .send();
}

function setCookie(request: FastifyRequest, reply: FastifyReply, value: string, maxAgeS: number): FastifyReply {
  const secure = request.protocol === "https" ? "; Secure" : "";
  const attributes = `Path=/; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict${secure}`;
  return reply.header("set-cookie", `${sessionCookieName(request)}=${value}; ${attributes}`);
}

function readQuery(query: GroupsQuery): CatalogueQuery {
  const limit = query.limit === undefined ? PAGE_DEFAULT : Number(query.limit);
  if (limit < 1 || limit > PAGE_MAX) {
    throw new ServerError("INVALID_REQUEST", `limit must be from 1 to ${PAGE_MAX}, not ${limit}`);
  }
  return {
    search: query.search ?? "",
    sort: query.sort ?? "id",
    isDescending: query.order === "desc",
    offset: Number(query.offset ?? 0),
    limit,
  };
}

function details(context: RouteContext, text: string): object {
  const status = findGroup(context, text);
  const vector = Object.entries(status.vector).map(([actor, events]) => ({ actor, events }));
  return {
    group: groupBody(status),
    vector: vector.toSorted((left, right) => right.events - left.events),
    members: context.node.members(status.id),
    lagEvents: status.lagEvents,
    lagMs: status.lagMs,
    stuck: status.isStuck,
    paused: status.isPaused,
    bytesIn: status.bytesIn,
    bytesOut: status.bytesOut,
    comparedAt: status.comparedAt === 0 ? null : new Date(status.comparedAt).toISOString(),
  };
}
