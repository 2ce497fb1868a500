import type { FastifyInstance } from "fastify";
import { type RouteContext, findGroup } from "../context.ts";

interface SnapshotRequest {
  readonly group?: string;
}

const requestSchema = {
  type: "object",
  additionalProperties: false,
  properties: { group: { type: "string", description: "Only this group; by default every one that has changed" } },
} as const;

/** Making what is in memory durable now. */
export function snapshotRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Body: SnapshotRequest }>(
    "/v1/snapshots",
    {
      config: { needs: { scope: "admin", over: "node" } },
      schema: {
        summary: "Takes snapshots now; answers once they are stored",
        tags: ["node"],
        body: requestSchema,
        response: { 204: { type: "null" } },
      },
    },
    async ({ body }, reply) => {
      await context.node.snapshot(body.group === undefined ? undefined : findGroup(context, body.group).id);
      return reply.code(204).send();
    },
  );
}
