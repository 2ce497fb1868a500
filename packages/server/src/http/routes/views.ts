import { ReplicationError } from "@coppice/replication";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { Grant } from "../../auth/grant.ts";
import { ServerError } from "../../error.ts";
import type { RouteContext } from "../context.ts";
import { Sessions } from "../sessions.ts";
import type { CheckedView, Views } from "../views.ts";
import { fromJson, toJson } from "../wire-json.ts";

interface CallRequest {
  readonly Params: { readonly name: string };
  readonly Body: { readonly params?: unknown; readonly session?: string };
}

const viewsSchema = {
  type: "object",
  required: ["views"],
  additionalProperties: false,
  properties: {
    views: {
      type: "array",
      items: {
        type: "object",
        required: ["name", "description", "kind", "scope", "timeoutMs", "permission"],
        additionalProperties: false,
        properties: {
          name: { type: "string" },
          description: { type: "string" },
          kind: { type: "string", enum: ["scalar", "batch"] },
          scope: { type: "string", enum: ["session", "global"] },
          timeoutMs: { type: ["number", "null"], description: "null for no limit" },
          permission: { type: "string", enum: ["read", "write", "admin"] },
        },
      },
    },
  },
} as const;

const callSchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    params: { description: "What the view takes; a list for a batch" },
    session: { type: "string", maxLength: 64, description: "Needed by views of scope `session`" },
  },
} as const;

const resultSchema = {
  type: "object",
  required: ["result"],
  additionalProperties: false,
  properties: { result: { description: "A list as long as `params` for a batch" } },
} as const;

const nameParams = {
  type: "object",
  required: ["name"],
  properties: { name: { type: "string", description: "The view's name" } },
} as const;

const sessionParams = {
  type: "object",
  required: ["session"],
  properties: { session: { type: "string", description: "The session's id" } },
} as const;

const sessionSchema = {
  type: "object",
  required: ["session"],
  additionalProperties: false,
  properties: { session: { type: "string" } },
} as const;

/** Calling views, and the sessions that some of them need. */
export function viewRoutes(app: FastifyInstance, context: RouteContext, views: Views): void {
  const sessions = new Sessions();
  app.addHook("onClose", (_instance, done) => {
    sessions.endAll();
    done();
  });
  app.get(
    "/v1/views",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: { summary: "The views that can be called", tags: ["views"], response: { 200: viewsSchema } },
    },
    () => ({ views: views.all.map(describe) }),
  );
  app.post(
    "/v1/reloads",
    {
      config: { needs: { scope: "admin", over: "node" } },
      schema: {
        summary: "Runs the loaders of all views again; calls get the new data once all have succeeded",
        tags: ["views"],
        body: { type: "object", additionalProperties: false },
        response: { 204: { type: "null" } },
      },
    },
    async (_request, reply) => {
      await views.load(context.closing);
      return reply.code(204).send();
    },
  );
  app.post<CallRequest>(
    "/v1/views/:name",
    {
      // The view says whether it needs more.
      config: { needs: { scope: "read", over: "any" } },
      schema: {
        summary: "Calls a view",
        tags: ["views"],
        params: nameParams,
        body: callSchema,
        response: { 200: resultSchema },
      },
    },
    async (request, reply) => {
      const { body, params, grant } = request;
      const view = views.get(params.name);
      checkPermission(view, grant);
      const session = body.session === undefined ? undefined : sessions.use(body.session);
      if (view.scope === "session" && session === undefined) {
        throw new ServerError("INVALID_REQUEST", `the view ${view.name} needs a session: POST /v1/sessions`);
      }
      const ends = [context.closing, leaving(reply)];
      return { result: toJson(await views.call(view, fromJson(body.params), session, ends)) };
    },
  );
  sessionRoutes(app, sessions);
}

function sessionRoutes(app: FastifyInstance, sessions: Sessions): void {
  app.post(
    "/v1/sessions",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: {
        summary: "Begins a session; it ends after half an hour without use",
        tags: ["views"],
        body: { type: "object", additionalProperties: false },
        response: { 200: sessionSchema },
      },
    },
    ({ grant }) => ({ session: sessions.create(grant.info.id).id }),
  );
  app.delete<{ Params: { readonly session: string } }>(
    "/v1/sessions/:session",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: {
        summary: "Ends a session",
        tags: ["views"],
        params: sessionParams,
        response: { 204: { type: "null" } },
      },
    },
    async ({ params }, reply) => {
      if (!sessions.end(params.session)) throw new ServerError("NOT_FOUND", "no such session");
      return reply.code(204).send();
    },
  );
}

/** Fires when the caller has gone. */
function leaving({ raw }: FastifyReply): AbortSignal {
  const controller = new AbortController();
  raw.once("close", () => controller.abort(new ReplicationError("CLOSED", "the caller went away")));
  return controller.signal;
}

function checkPermission({ permission, domains }: CheckedView, grant: Grant): void {
  if (domains === undefined) grant.requireUnlimited();
  grant.require(permission);
  for (const domain of domains ?? []) grant.requireDomain(domain);
}

function describe({ name, description, kind, scope, timeoutMs, permission }: CheckedView): object {
  return { name, description, kind, scope, timeoutMs: timeoutMs === "infinity" ? null : timeoutMs, permission };
}
