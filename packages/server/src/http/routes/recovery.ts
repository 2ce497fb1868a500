import type { GroupStatus, RecoveryReport } from "@coppice/replication";
import type { FastifyInstance } from "fastify";
import { type RecoveryBody, groupBody } from "../api.ts";
import type { RouteContext } from "../context.ts";
import { answerWork } from "../long-work.ts";
import { group } from "../schemas.ts";

interface RecoveryRequest {
  readonly dryRun?: boolean;
}

const LISTED_MAX = 1000;

const requestSchema = {
  type: "object",
  additionalProperties: false,
  properties: { dryRun: { type: "boolean", description: "Load nothing, only report what is stored" } },
} as const;

const listSchema = (description: string): object => ({
  type: "array",
  items: group,
  description: `${description}; at most ${LISTED_MAX} of them`,
});

const responseSchema = {
  type: "object",
  required: ["groups", "recovered", "events", "durationMs", "degraded", "failed", "unknown"],
  additionalProperties: false,
  properties: {
    groups: { type: "integer", description: "How many are stored" },
    recovered: { type: "integer", description: "How many of them were loaded, and are whole" },
    events: { type: "integer" },
    durationMs: { type: "number" },
    degraded: listSchema("Loaded from an older snapshot or an incomplete journal: peers may have more"),
    failed: listSchema("Stored but not readable; left as they are"),
    unknown: listSchema("Of a type that this node does not have"),
  },
} as const;

/** Loading every stored group. */
export function recoveryRoutes(app: FastifyInstance, { node, closing }: RouteContext): void {
  app.post<{ Body: RecoveryRequest }>(
    "/v1/recoveries",
    {
      config: { needs: { scope: "admin", over: "node" } },
      schema: {
        summary: "Loads every stored group and reports what was found; as events, with progress",
        tags: ["node"],
        body: requestSchema,
        response: { 200: responseSchema },
        produces: ["application/json", "text/event-stream"],
      },
    },
    async (request, reply) => {
      const { dryRun = false } = request.body;
      return await answerWork(request, reply, closing, async (tell, signal) => {
        return recoveryBody(await node.recover({ dryRun, onProgress: tell, signal }));
      });
    },
  );
}

function recoveryBody(report: RecoveryReport): RecoveryBody {
  const { groups, recovered, events, durationMs } = report;
  return {
    groups,
    recovered,
    events,
    durationMs,
    degraded: listed(report.degraded),
    failed: listed(report.failed),
    unknown: listed(report.unknown),
  };
}

function listed(groups: readonly GroupStatus[]): RecoveryBody["failed"] {
  return groups.slice(0, LISTED_MAX).map(groupBody);
}
