import type { FastifyInstance } from "fastify";
import type { TypesBody } from "../api.ts";
import type { RouteContext } from "../context.ts";

const responseSchema = {
  type: "object",
  required: ["types"],
  additionalProperties: false,
  properties: {
    types: {
      type: "array",
      items: {
        type: "object",
        required: ["name", "operations", "nestable"],
        additionalProperties: false,
        properties: {
          name: { type: "string" },
          operations: { type: "array", items: { type: "string" }, description: "What `op` may be" },
          nestable: { type: "boolean", description: "Whether it can stand in a map, as the last step of a path" },
        },
      },
    },
  },
} as const;

/** What can be stored, and what can be done with it. */
export function typeRoutes(app: FastifyInstance, { types }: RouteContext): void {
  app.get(
    "/v1/types",
    {
      config: { needs: { scope: "read", over: "any" } },
      schema: {
        summary: "The types of this node and their operations",
        tags: ["node"],
        response: { 200: responseSchema },
      },
    },
    (): TypesBody => ({
      types: types.all.map((type) => ({
        name: type.name,
        operations: type.operations ?? [],
        nestable: "nesting" in type,
      })),
    }),
  );
}
