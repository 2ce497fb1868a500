import type { GroupStatus } from "@coppice/replication";
import { encodeGroupPrefix, formatGroupId, parseGroupId } from "@coppice/storage";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { Grant } from "../../auth/grant.ts";
import { ServerError } from "../../error.ts";
import { type GroupBody, type GroupPageBody, type ValueBody, groupBody } from "../api.ts";
import {
  type ReadQuery,
  ReadWait,
  type SessionHeaders,
  readQueryProperties,
  sessionHeadersSchema,
} from "../consistency.ts";
import { type RouteContext, findGroup, withDeadline, withReplica } from "../context.ts";
import { entityTag, isKnown } from "../etag.ts";
import { group, groupIdParams, numberInQuery } from "../schemas.ts";
import { toJson, writingJson } from "../wire-json.ts";

const PAGE_DEFAULT = 100;
const PAGE_MAX = 1000;

interface IdParams {
  readonly id: string;
}

interface ListQuery {
  readonly prefix?: string;
  readonly after?: string;
  readonly limit?: string;
}

interface ValueQuery extends ReadQuery {
  readonly key?: string | readonly string[];
}

const pageSchema = {
  type: "object",
  required: ["groups", "next"],
  additionalProperties: false,
  properties: {
    groups: { type: "array", items: group },
    next: { type: ["string", "null"], description: "What to pass as `after` for the next page; null on the last" },
  },
} as const;

const valueSchema = {
  type: "object",
  required: ["id", "type", "digest", "value"],
  additionalProperties: false,
  properties: { id: { type: "string" }, type: { type: "string" }, digest: { type: "string" }, value: {} },
} as const;

const listQuerySchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    prefix: { type: "string", description: "`words/` for tuples that begin with `words`; `wo` for texts that do" },
    after: { type: "string", description: "`next` of the page before" },
    limit: numberInQuery(`Groups in a page, 1 to ${PAGE_MAX}, by default ${PAGE_DEFAULT}`),
  },
} as const;

const valueQuerySchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    key: {
      anyOf: [{ type: "string" }, { type: "array", items: { type: "string" }, maxItems: 64 }],
      description: "A way into the value, key by key: `?key=words&key=the`",
    },
    ...readQueryProperties,
  },
} as const;

/** Listing, reading and deleting groups. */
export function groupRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get<{ Querystring: ListQuery }>(
    "/v1/groups",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: {
        summary: "The groups of this node, by id, in pages",
        tags: ["groups"],
        querystring: listQuerySchema,
        response: { 200: pageSchema },
      },
    },
    ({ query, grant }) => listGroups(context, query, grant),
  );
  app.get<{ Params: IdParams }>(
    "/v1/groups/:id",
    {
      config: { needs: { scope: "read", over: "group" } },
      schema: {
        summary: "A group without its value",
        tags: ["groups"],
        params: groupIdParams,
        response: { 200: group },
      },
    },
    ({ params }): GroupBody => groupBody(findGroup(context, params.id)),
  );
  app.delete<{ Params: IdParams }>(
    "/v1/groups/:id",
    {
      config: { needs: { scope: "write", over: "group" } },
      schema: {
        summary: "Deletes a group, here and on every peer",
        tags: ["groups"],
        params: groupIdParams,
        response: { 204: { type: "null" } },
      },
    },
    async ({ params }, reply) => {
      const { id } = findGroup(context, params.id);
      await withDeadline(context, context.waitMsMax, (signal) => context.node.delete(id, { signal }));
      return reply.code(204).send();
    },
  );
  valueRoute(app, context);
}

function valueRoute(app: FastifyInstance, context: RouteContext): void {
  app.get<{ Params: IdParams; Querystring: ValueQuery; Headers: SessionHeaders & { "if-none-match"?: string } }>(
    "/v1/groups/:id/value",
    {
      config: { needs: { scope: "read", over: "group" } },
      schema: {
        summary: "A group's value; with `If-None-Match`, only when it has changed",
        tags: ["groups"],
        params: groupIdParams,
        headers: sessionHeadersSchema,
        querystring: valueQuerySchema,
        response: { 200: valueSchema, 304: { type: "null" } },
      },
    },
    async ({ params, query, headers }, reply) => {
      const wait = new ReadWait(query, headers, context.waitMsMax);
      const status = await wait.group(context, params.id);
      return await withReplica(context, status, async (replica): Promise<ValueBody | FastifyReply> => {
        await wait.before(context, replica);
        wait.answer(reply, () => replica.sessionToken());
        const digest = replica.digest();
        const tag = entityTag(digest);
        void reply.header("etag", tag);
        if (isKnown(headers["if-none-match"], tag)) return reply.code(304).send();
        const value = writingJson(() => toJson(pick(replica.value(), query.key)));
        return { id: formatGroupId(status.id), type: status.type, digest, value };
      });
    },
  );
}

function listGroups({ node }: RouteContext, query: ListQuery, grant: Grant): GroupPageBody {
  const limit = query.limit === undefined ? PAGE_DEFAULT : Number(query.limit);
  if (limit < 1 || limit > PAGE_MAX) {
    throw new ServerError("INVALID_REQUEST", `limit must be from 1 to ${PAGE_MAX}, not ${limit}`);
  }
  const prefix = query.prefix === undefined || query.prefix === "" ? undefined : parseGroupId(query.prefix);
  if (prefix !== undefined) encodeGroupPrefix(prefix);
  const after = query.after === undefined ? undefined : parseGroupId(query.after);
  const groups = node.groups({
    sorted: true,
    ...(prefix === undefined ? {} : { prefix }),
    ...(after === undefined ? {} : { after }),
    ...(grant.info.domains === undefined ? {} : { domains: grant.info.domains }),
  });
  const page = first(groups, limit + 1);
  const bodies = page.slice(0, limit).map(groupBody);
  return { groups: bodies, next: page.length > limit ? (bodies.at(-1)?.id ?? null) : null };
}

function first(groups: Iterable<GroupStatus>, count: number): GroupStatus[] {
  const found: GroupStatus[] = [];
  for (const status of groups) {
    found.push(status);
    if (found.length === count) break;
  }
  return found;
}

function pick(value: unknown, key: ValueQuery["key"]): unknown {
  const keys = key === undefined ? [] : typeof key === "string" ? [key] : key;
  let current = value;
  for (const step of keys) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, step)) return undefined;
    current = (current as Record<string, unknown>)[step];
  }
  return current;
}
