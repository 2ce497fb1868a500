import { Readable } from "node:stream";
import { type GroupStorage, encodeGroupPrefix, exportGroups, parseGroupId } from "@coppice/storage";
import type { FastifyInstance } from "fastify";
import { ServerError } from "../../error.ts";
import type { RouteContext } from "../context.ts";

interface ExportRequest {
  readonly Querystring: { readonly prefix?: string; readonly history?: string };
}

/** Online backups. */
export function exportRoutes(app: FastifyInstance, context: RouteContext, storage: GroupStorage): void {
  app.get<ExportRequest>(
    "/v1/export",
    {
      exposeHeadRoute: false,
      config: { needs: { scope: "read", over: "node" } },
      schema: {
        summary: "The groups as one portable stream: a backup while the node runs, each group whole",
        tags: ["node"],
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            prefix: { type: "string", description: "Only groups below, as in `GET /v1/groups`" },
            history: { type: "string", enum: ["true", "false"], description: "Also what the journals reach back to" },
          },
        },
        response: { 200: { type: "string", description: "For `coppice import` and `coppice restore`" } },
        produces: ["application/octet-stream"],
      },
    },
    async ({ query, grant }, reply) => {
      const prefix = query.prefix === undefined ? undefined : parseGroupId(query.prefix);
      if (prefix !== undefined) encodeGroupPrefix(prefix);
      // What was applied and not yet committed belongs to the moment that is asked for.
      await context.node.sync();
      const history = query.history === "true";
      const selection = prefix === undefined ? {} : { prefix };
      const chunks = exportGroups(storage, { ...selection, history, signal: context.closing });
      const stream = Readable.from(chunks, { objectMode: false });
      // Half an export shows that it is one: its end is marked.
      const stop = grant.onEnd(() => stream.destroy(new ServerError("TOKEN_REVOKED", "the token was revoked")));
      stream.once("close", stop);
      return reply.type("application/octet-stream").send(stream);
    },
  );
}
