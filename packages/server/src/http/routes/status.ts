import type { FastifyInstance } from "fastify";
import type { Grant } from "../../auth/grant.ts";
import { VERSION } from "../../version.ts";
import type { StatusBody } from "../api.ts";
import type { RouteContext } from "../context.ts";

const statusSchema = {
  type: "object",
  required: ["version", "peerId", "incarnation", "addresses", "startedAt", "groups", "peers", "types"],
  additionalProperties: false,
  properties: {
    version: { type: "string" },
    peerId: { type: "string" },
    incarnation: { type: "string", description: "16 hexadecimal digits, fresh at every start of the process" },
    addresses: { type: "array", items: { type: "string" } },
    startedAt: { type: "string" },
    groups: { type: "integer" },
    peers: { type: "integer" },
    types: { type: "array", items: { type: "string" } },
  },
} as const;

/** What the node is, and how it is doing. */
export function statusRoutes(app: FastifyInstance, context: RouteContext): void {
  const startedAt = new Date().toISOString();
  const { node, types } = context;
  app.get(
    "/v1/status",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: { summary: "What this node is", tags: ["node"], response: { 200: statusSchema } },
    },
    ({ grant }): StatusBody => ({
      version: VERSION,
      peerId: node.id,
      incarnation: node.incarnation,
      addresses: node.addresses(),
      startedAt,
      groups: countGroups(context, grant),
      peers: node.peers().length,
      types: types.names,
    }),
  );
}

/** Of the domains that the token is for: of others it tells nothing. */
function countGroups({ node }: RouteContext, { info }: Grant): number {
  const counts = [...node.countGroups()].filter(([domain]) => info.domains?.includes(domain) ?? true);
  return counts.reduce((sum, [, count]) => sum + count, 0);
}
