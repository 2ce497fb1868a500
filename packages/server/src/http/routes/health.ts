import type { FastifyInstance } from "fastify";
import { type RouteContext, withDeadline } from "../context.ts";

const READY_MS = 5000;

const healthSchema = {
  type: "object",
  required: ["status"],
  additionalProperties: false,
  properties: { status: { const: "ok" } },
} as const;

/** For supervisors. */
export function healthRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get(
    "/v1/live",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: { summary: "Whether the process answers", tags: ["node"], response: { 200: healthSchema } },
    },
    () => ({ status: "ok" }),
  );
  app.get(
    "/v1/ready",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: {
        summary: "Whether writes reach the storage; a problem such as `STORAGE_FAILED` when they do not",
        tags: ["node"],
        response: { 200: healthSchema },
      },
    },
    async () => {
      // The barrier is the only honest answer: a disk that is full shows at the next write and not before.
      await withDeadline(context, READY_MS, (signal) => Promise.race([context.node.sync(), fired(signal)]));
      return { status: "ok" };
    },
  );
}

function fired(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}
