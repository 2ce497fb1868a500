import type { FastifyInstance } from "fastify";
import type { DomainBody, DomainsBody } from "../api.ts";
import type { RouteContext } from "../context.ts";
import type { GatewayDomain } from "../domains.ts";

const responseSchema = {
  type: "object",
  required: ["domains"],
  additionalProperties: false,
  properties: {
    domains: {
      type: "array",
      items: {
        type: "object",
        required: [
          "name",
          "configured",
          "groups",
          "type",
          "storage",
          "durability",
          "snapshotIntervalMs",
          "inMemory",
          "autoSaveMs",
          "replicated",
        ],
        additionalProperties: false,
        properties: {
          name: { type: "string" },
          configured: { type: "boolean", description: "Whether it has settings of its own" },
          groups: { type: "integer" },
          type: { type: ["string", "null"], description: "Of groups that are created without one" },
          storage: { type: ["string", "null"] },
          durability: { type: ["string", "null"] },
          snapshotIntervalMs: { type: ["number", "null"] },
          inMemory: { type: ["boolean", "null"] },
          autoSaveMs: { type: ["number", "null"] },
          replicated: { type: ["boolean", "null"], description: "Whether this node is interested in it" },
        },
      },
    },
  },
} as const;

/** The domains: those that are configured, and those that have groups. */
export function domainRoutes(app: FastifyInstance, { node, domains }: RouteContext): void {
  app.get(
    "/v1/domains",
    {
      config: { needs: { scope: "read", over: "node" } },
      schema: {
        summary: "The domains that are configured or have groups, by name",
        tags: ["node"],
        response: { 200: responseSchema },
      },
    },
    (): DomainsBody => {
      const counts = new Map(domains.all.map(({ name }) => [name, 0]));
      for (const [name, count] of node.countGroups()) if (count > 0) counts.set(name, count);
      const names = [...counts].toSorted(([left], [right]) => (left < right ? -1 : 1));
      return { domains: names.map(([name, groups]) => domainBody(domains.get(name), groups, domains.has(name))) };
    },
  );
}

function domainBody(domain: GatewayDomain, groups: number, configured: boolean): DomainBody {
  return {
    name: domain.name,
    configured,
    groups,
    type: domain.type ?? null,
    storage: domain.storage ?? null,
    durability: domain.durability ?? null,
    snapshotIntervalMs: domain.snapshotIntervalMs ?? null,
    inMemory: domain.inMemory ?? null,
    autoSaveMs: domain.autoSaveMs ?? null,
    replicated: domain.isReplicated ?? null,
  };
}
