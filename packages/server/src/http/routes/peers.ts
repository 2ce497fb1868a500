import type { FastifyInstance } from "fastify";
import { ServerError } from "../../error.ts";
import { didYouMean } from "../../suggest.ts";
import { type PeersBody, peerBody } from "../api.ts";
import { type RouteContext, withDeadline } from "../context.ts";

const WAIT_MS_DEFAULT = 10_000;

interface ConnectRequest {
  readonly address: string;
  readonly timeoutMs?: number;
}

const connectSchema = {
  type: "object",
  required: ["address"],
  additionalProperties: false,
  properties: {
    address: { type: "string", maxLength: 1024, description: "A multiaddr, such as `/ip4/192.0.2.7/tcp/4001`" },
    timeoutMs: { type: "integer", minimum: 1, description: `Longest wait, by default ${WAIT_MS_DEFAULT}` },
  },
} as const;

const peerParams = {
  type: "object",
  required: ["peer"],
  properties: { peer: { type: "string", description: "The peer's id" } },
} as const;

const connectedSchema = {
  type: "object",
  required: ["peer"],
  additionalProperties: false,
  properties: { peer: { type: "string", description: "The peer's id" } },
} as const;

const peersSchema = {
  type: "object",
  required: ["peers"],
  additionalProperties: false,
  properties: {
    peers: {
      type: "array",
      items: {
        type: "object",
        required: ["id", "addresses", "domains", "events", "bytesIn", "bytesOut", "queueBytes", "lastSyncAt"],
        additionalProperties: false,
        properties: {
          id: { type: "string" },
          addresses: { type: "array", items: { type: "string" } },
          domains: { type: ["array", "null"], items: { type: "string" }, description: "What it replicates; null: all" },
          events: { type: "integer", description: "Received from it, and new here" },
          bytesIn: { type: "integer" },
          bytesOut: { type: "integer" },
          queueBytes: { type: "integer", description: "What waits to be sent to it" },
          lastSyncAt: { type: ["string", "null"], description: "When contents were last compared with it" },
        },
      },
    },
  },
} as const;

/** Links to other nodes. */
export function peerRoutes(app: FastifyInstance, context: RouteContext): void {
  const { node } = context;
  app.get(
    "/v1/peers",
    {
      config: { needs: { scope: "read", over: "node" } },
      schema: { summary: "The peers that this node knows", tags: ["peers"], response: { 200: peersSchema } },
    },
    (): PeersBody => ({ peers: node.peers().map(peerBody) }),
  );
  app.post<{ Body: ConnectRequest }>(
    "/v1/peers",
    {
      config: { needs: { scope: "admin", over: "node" } },
      schema: {
        summary: "Connects to a peer, and again whenever the link is lost",
        tags: ["peers"],
        body: connectSchema,
        response: { 200: connectedSchema },
      },
    },
    async ({ body }) => {
      const waitMs = body.timeoutMs ?? WAIT_MS_DEFAULT;
      return { peer: await withDeadline(context, waitMs, (signal) => node.connect(body.address, { signal })) };
    },
  );
  app.delete<{ Params: { readonly peer: string } }>(
    "/v1/peers/:peer",
    {
      config: { needs: { scope: "admin", over: "node" } },
      schema: {
        summary: "Ends the link to a peer",
        tags: ["peers"],
        params: peerParams,
        response: { 204: { type: "null" } },
      },
    },
    async ({ params }, reply) => {
      const known = node.peers().map(({ id }) => id);
      if (!known.includes(params.peer)) {
        const suggestion = didYouMean(params.peer, known);
        throw new ServerError("NOT_FOUND", `no peer ${params.peer} is connected.${suggestion}`);
      }
      await node.disconnect(params.peer);
      return reply.code(204).send();
    },
  );
}
