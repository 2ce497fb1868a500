/** The OpenAPI 3.1 document, made of the same schemas that requests are checked against. */
import type { FastifyInstance, FastifySchema, RouteOptions } from "fastify";
import { VERSION } from "../version.ts";
import { problem } from "./schemas.ts";

interface ObjectSchema {
  readonly properties?: { readonly [name: string]: { readonly description?: string } };
  readonly required?: readonly string[];
}

interface ResponseSchema {
  readonly type?: unknown;
  readonly description?: string;
}

/** A document that grows with every route registered after {@link collectOpenApi}. */
export interface OpenApi {
  readonly openapi: "3.1.0";
  readonly info: object;
  readonly security: readonly object[];
  readonly components: object;
  readonly paths: { [path: string]: { [method: string]: object } };
}

/** Starts to describe the routes of `app`. */
export function collectOpenApi(app: FastifyInstance): OpenApi {
  const document: OpenApi = {
    openapi: "3.1.0",
    info: { title: "Coppice", version: VERSION, description: "Replicated data of one node", license: { name: "MIT" } },
    security: [{ token: [] }],
    components: {
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
      schemas: { Problem: problem },
    },
    paths: {},
  };
  app.addHook("onRoute", (route) => {
    // Fastify answers HEAD where it answers GET, but for streams.
    const methods = [route.method].flat().filter((method) => method !== "HEAD");
    if (route.config?.isAsset === true) return;
    for (const method of methods) {
      const path = route.url.replaceAll(/:(\w+)/g, "{$1}");
      document.paths[path] = { ...document.paths[path], [method.toLowerCase()]: describe(route, path, method) };
    }
  });
  return document;
}

function describe(route: RouteOptions, path: string, method: string): object {
  const schema: FastifySchema = route.schema ?? {};
  const { summary, tags, produces = ["application/json"], body } = schema;
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/\/v1|[{}]/g, "").replaceAll(/\/(\w)/g, upper)}`,
    summary,
    tags,
    security: route.config?.needs === "nothing" ? [] : [{ token: roles(route) }],
    parameters: [
      ...parameters("path", schema.params as ObjectSchema | undefined),
      ...parameters("query", schema.querystring as ObjectSchema | undefined),
      ...parameters("header", schema.headers as ObjectSchema | undefined),
    ],
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    ...(route.config?.accepts === undefined
      ? {}
      : { requestBody: { required: true, content: { [route.config.accepts]: {} } } }),
    responses: {
      ...responses(schema.response as { readonly [status: string]: ResponseSchema } | undefined, produces),
      default: {
        description: "What went wrong",
        content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    },
  };
}

/** OpenAPI lets a scheme without scopes of its own list the roles that a caller needs. */
function roles({ config }: RouteOptions): string[] {
  const { needs } = config ?? {};
  if (needs === undefined || needs === "nothing") return [];
  return [
    needs.scope,
    ...(needs.over === "any" ? [] : [needs.over === "group" ? "domain of the group" : "every domain"]),
  ];
}

function upper(_match: string, letter: string): string {
  return letter.toUpperCase();
}

function parameters(place: "path" | "query" | "header", schema: ObjectSchema | undefined): object[] {
  return Object.entries(schema?.properties ?? {}).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: place === "path" || schema?.required?.includes(name) === true,
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

function responses(
  schemas: { readonly [status: string]: ResponseSchema } | undefined,
  produces: readonly string[],
): object {
  const entries = Object.entries(schemas ?? {}).map(([status, schema]) => {
    const description = schema.description ?? (schema.type === "null" ? "Done" : "The answer");
    const content = Object.fromEntries(produces.map((type) => [type, { schema }]));
    return [status, schema.type === "null" ? { description } : { description, content }] as const;
  });
  return Object.fromEntries(entries);
}
