import type { FastifyInstance } from "fastify";
import { type RouteContext, findGroup } from "../context.ts";
import { EventStream } from "../event-stream.ts";
import { groupIdParams } from "../schemas.ts";
import type { WatchHub, Watcher } from "../watch-hub.ts";

interface WatchRequest {
  readonly Params: { readonly id: string };
  readonly Querystring: { readonly after?: string };
  readonly Headers: { readonly "last-event-id"?: string };
}

/** Server-sent events: the value of a group, now and whenever it changes. */
export function watchRoutes(app: FastifyInstance, context: RouteContext, hub: WatchHub): void {
  app.get<WatchRequest>(
    "/v1/groups/:id/watch",
    {
      exposeHeadRoute: false,
      config: { needs: { scope: "read", over: "group" } },
      schema: {
        summary: "Server-sent events: the value now and after each change; `Last-Event-ID` resumes",
        tags: ["groups"],
        params: groupIdParams,
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            after: { type: "string", description: "As `Last-Event-ID`: the digest that is known already" },
          },
        },
        response: {
          200: { description: "A stream of `value` events and at last `deleted` or `error`", type: "string" },
        },
        produces: ["text/event-stream"],
      },
    },
    async ({ params, query, headers, grant }, reply) => {
      const after = query.after ?? headers["last-event-id"];
      const stream = new EventStream(reply, context.limits.stalledMs);
      const watcher: Watcher = {
        send: ({ event, data, id }) => stream.send(event, data, id),
        end: () => stream.end(),
      };
      const watch = await hub.watch(findGroup(context, params.id), watcher, after);
      stream.begin(grant, { drained: () => watch.resume(), closed: () => watch.stop() });
    },
  );
}
