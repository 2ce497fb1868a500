import type { FastifyInstance } from "fastify";
import type { Metrics } from "../metrics.ts";

/** For Prometheus. */
export function metricsRoutes(app: FastifyInstance, metrics: Metrics): void {
  app.get(
    "/v1/metrics",
    {
      config: { needs: { scope: "read", over: "node" } },
      schema: {
        summary: "Metrics in the text format of Prometheus",
        tags: ["node"],
        response: { 200: { type: "string" } },
        produces: ["text/plain"],
      },
      // Text, where the other routes answer JSON.
      serializerCompiler: () => (text: string) => text,
    },
    async (_request, reply) => {
      const text = await metrics.text();
      return reply.type(metrics.contentType).send(text);
    },
  );
}
