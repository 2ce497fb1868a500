import type { FastifyInstance } from "fastify";
import type { Scope } from "../../auth/grant.ts";
import type { TokenStore } from "../../auth/token-store.ts";
import { ServerError } from "../../error.ts";
import type { NewTokenBody, TokensBody } from "../api.ts";
import { tokenBody } from "../token-body.ts";

interface CreateRequest {
  readonly label?: string;
  readonly scope: Scope;
  readonly domains?: readonly string[];
  readonly expiresInSeconds?: number;
}

const NEEDS = { scope: "admin", over: "node" } as const;

const requestSchema = {
  type: "object",
  required: ["scope"],
  additionalProperties: false,
  properties: {
    label: { type: "string", maxLength: 100, description: "For people" },
    scope: { type: "string", enum: ["read", "write", "admin"] },
    domains: {
      type: "array",
      minItems: 1,
      maxItems: 100,
      items: { type: "string", maxLength: 256 },
      description: "The domains it is good for; by default all",
    },
    expiresInSeconds: { type: "integer", minimum: 1, description: "By default it does not expire" },
  },
} as const;

const properties = {
  id: { type: "string", description: "Names the token; not secret" },
  label: { type: "string" },
  scope: { type: "string", enum: ["read", "write", "admin"] },
  domains: { type: ["array", "null"], items: { type: "string" }, description: "null: all" },
  createdAt: { type: "string" },
  expiresAt: { type: ["string", "null"] },
} as const;

const tokenSchema = { type: "object", required: Object.keys(properties), additionalProperties: false, properties };

const newTokenSchema = {
  type: "object",
  required: ["token", ...Object.keys(properties)],
  additionalProperties: false,
  properties: { token: { type: "string", description: "The secret text; it is told only now" }, ...properties },
};

const tokensSchema = {
  type: "object",
  required: ["tokens"],
  additionalProperties: false,
  properties: { tokens: { type: "array", items: tokenSchema } },
};

/** Making and revoking tokens. */
export function tokenRoutes(app: FastifyInstance, tokens: TokenStore): void {
  app.get(
    "/v1/tokens",
    {
      config: { needs: NEEDS },
      schema: { summary: "The tokens, without their secrets", tags: ["tokens"], response: { 200: tokensSchema } },
    },
    (): TokensBody => ({ tokens: tokens.list().map(tokenBody) }),
  );
  app.post<{ Body: CreateRequest }>(
    "/v1/tokens",
    {
      config: { needs: NEEDS },
      schema: { summary: "Makes a token", tags: ["tokens"], body: requestSchema, response: { 200: newTokenSchema } },
    },
    async ({ body }): Promise<NewTokenBody> => {
      const { expiresInSeconds, ...request } = body;
      const expiry = expiresInSeconds === undefined ? {} : { expiresAt: Date.now() + expiresInSeconds * 1000 };
      const { info, text } = await tokens.create({ ...request, ...expiry });
      return { token: text, ...tokenBody(info) };
    },
  );
  app.delete<{ Params: { readonly token: string } }>(
    "/v1/tokens/:token",
    {
      config: { needs: NEEDS },
      schema: {
        summary: "Revokes a token, and ends what was opened with it",
        tags: ["tokens"],
        params: {
          type: "object",
          required: ["token"],
          properties: { token: { type: "string", description: "The token's id" } },
        },
        response: { 204: { type: "null" } },
      },
    },
    async ({ params }, reply) => {
      if (!(await tokens.revoke(params.token))) {
        throw new ServerError("NOT_FOUND", `no token has the id ${params.token}; "coppice token list" shows them`);
      }
      return reply.code(204).send();
    },
  );
}
