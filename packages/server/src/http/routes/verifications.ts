import type { GroupStatus, Node } from "@coppice/replication";
import { formatGroupId } from "@coppice/storage";
import type { FastifyInstance } from "fastify";
import type { VerificationBody, VerifiedGroupBody } from "../api.ts";
import { type RouteContext, findGroup } from "../context.ts";
import { type WorkProgress, answerWork } from "../long-work.ts";
import { toProblem } from "../problem.ts";

interface VerificationRequest {
  readonly group?: string;
  readonly timeoutMs?: number;
}

const LISTED_MAX = 1000;
/** Groups compared at the same time. */
const AT_ONCE = 32;
const TIMEOUT_MS_DEFAULT = 5000;

const groupSchema = {
  type: "object",
  required: ["id", "digest", "peers"],
  additionalProperties: false,
  properties: {
    id: { type: "string" },
    digest: { type: "string" },
    code: { type: "string", description: "Why it could not be compared" },
    peers: {
      type: "object",
      description: "By peer id. One that did not answer in time is missing",
      additionalProperties: { type: "string", enum: ["equal", "other-events", "divergent", "unreadable"] },
    },
  },
} as const;

const responseSchema = {
  type: "object",
  required: ["groups", "equal", "divergent", "different", "peers"],
  additionalProperties: false,
  properties: {
    groups: { type: "integer" },
    peers: { type: "integer", description: "Linked peers" },
    equal: { type: "integer", description: "Groups for which every peer that answered has the same content" },
    divergent: {
      type: "array",
      items: groupSchema,
      description: "Same events, other content: this must never be",
    },
    different: {
      type: "array",
      items: groupSchema,
      description: `Other events, as while writes are under way, or not readable; at most ${LISTED_MAX}`,
    },
  },
} as const;

/** Comparing what this node has with its peers. */
export function verificationRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Body: VerificationRequest }>(
    "/v1/verifications",
    {
      config: { needs: { scope: "admin", over: "node" } },
      schema: {
        summary: "Compares one group, or all, with every peer; as events, with progress",
        tags: ["node"],
        body: {
          type: "object",
          additionalProperties: false,
          properties: {
            group: { type: "string", description: "Only this one" },
            timeoutMs: { type: "integer", minimum: 1, description: `For each group; by default ${TIMEOUT_MS_DEFAULT}` },
          },
        },
        response: { 200: responseSchema },
        produces: ["application/json", "text/event-stream"],
      },
    },
    async (request, reply) => {
      const { group, timeoutMs = TIMEOUT_MS_DEFAULT } = request.body;
      const groups = group === undefined ? [...context.node.groups()] : [findGroup(context, group)];
      const limitMs = Math.min(timeoutMs, context.waitMsMax);
      return await answerWork(request, reply, context.closing, (tell, signal) =>
        verifyAll(context.node, groups, limitMs, tell, signal),
      );
    },
  );
}

async function verifyAll(
  node: Node,
  groups: readonly GroupStatus[],
  timeoutMs: number,
  tell: (progress: WorkProgress) => void,
  signal: AbortSignal,
): Promise<VerificationBody> {
  const divergent: VerifiedGroupBody[] = [];
  const different: VerifiedGroupBody[] = [];
  const waiting = [...groups];
  let done = 0;
  const work = async (): Promise<void> => {
    for (let group = waiting.pop(); group !== undefined; group = waiting.pop()) {
      signal.throwIfAborted();
      const body = await verifyOne(node, group, timeoutMs, signal);
      const verdicts = Object.values(body.peers);
      if (verdicts.includes("divergent")) divergent.push(body);
      else if (body.code !== undefined || verdicts.some((verdict) => verdict !== "equal")) different.push(body);
      tell({ done: ++done, total: groups.length });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return {
    groups: groups.length,
    peers: node.peers().length,
    equal: groups.length - divergent.length - different.length,
    divergent,
    different: different.slice(0, LISTED_MAX),
  };
}

/** A group that cannot be compared does not stop the others. */
async function verifyOne(
  node: Node,
  group: GroupStatus,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<VerifiedGroupBody> {
  const id = formatGroupId(group.id);
  try {
    const { digest, peers } = await node.verify(group.id, { timeoutMs, signal });
    return { id, digest, peers: Object.fromEntries(peers) };
  } catch (error) {
    signal.throwIfAborted();
    return { id, digest: group.digest, peers: {}, code: toProblem(error).code };
  }
}
