import { type AckLevel, ReplicationError, type Write } from "@coppice/replication";
import { type GroupId, formatGroupId, parseGroupId } from "@coppice/storage";
import type { AnyCrdtType } from "@coppice/crdt";
import type { FastifyInstance } from "fastify";
import { ServerError } from "../../error.ts";
import type { OperationsBody } from "../api.ts";
import { type AnyReplica, type RouteContext, unknownGroup, withDeadline } from "../context.ts";
import { type SessionHeaders, answerSession, sessionHeadersSchema, tokenOf } from "../consistency.ts";
import { type Operation, compileOperations } from "../operations.ts";
import { RequestFailure } from "../problem.ts";
import { groupIdParams } from "../schemas.ts";
import { toJson } from "../wire-json.ts";

const OPERATIONS_MAX = 10_000;
const WAIT_MS_DEFAULT = 10_000;
/** A wait for peers is to end by itself, as it knows who answered, before the request does. */
const GRACE_MS = 100;

interface OperationsRequest {
  /** Creates the group when it is new; must be its type when it exists. */
  readonly type?: string;
  readonly operations: readonly Operation[];
  readonly ack?: AckLevel;
  readonly timeoutMs?: number;
  /** Begins a deleted group anew. */
  readonly recreate?: boolean;
  /** Answer with the value right after. */
  readonly value?: boolean;
}

const ackSchema = {
  description: "What to wait for; by default `log` on a durable node, else `memory`",
  anyOf: [
    { type: "string", enum: ["memory", "log", "sync"] },
    {
      type: "object",
      required: ["replicas"],
      additionalProperties: false,
      properties: {
        replicas: {
          anyOf: [
            { type: "integer", minimum: 1, maximum: 1000 },
            { type: "string", enum: ["majority", "all"] },
          ],
          description: "This many direct peers have it; or a majority, or all, of the domain's roster",
        },
        durable: { type: "boolean", description: "… in stable storage" },
      },
    },
  ],
} as const;

const operationSchema = {
  type: "object",
  required: ["op"],
  additionalProperties: false,
  properties: {
    path: {
      type: "array",
      maxItems: 64,
      description: "Keys into a nested type. A plain text is a step to a map; the last step names what `op` belongs to",
      items: {
        anyOf: [
          { type: "string" },
          {
            type: "object",
            required: ["key", "type"],
            additionalProperties: false,
            properties: { key: { type: "string" }, type: { type: "string" } },
          },
        ],
      },
    },
    op: { type: "string", maxLength: 64 },
    args: { type: "array", maxItems: 16, items: {} },
  },
} as const;

const requestSchema = {
  type: "object",
  required: ["operations"],
  additionalProperties: false,
  properties: {
    type: { type: "string", maxLength: 64, description: "Creates the group when it is new" },
    operations: { type: "array", minItems: 1, maxItems: OPERATIONS_MAX, items: operationSchema },
    ack: ackSchema,
    timeoutMs: { type: "integer", minimum: 1, description: `Longest wait for \`ack\`, by default ${WAIT_MS_DEFAULT}` },
    recreate: { type: "boolean", description: "Begin a deleted group anew" },
    value: { type: "boolean", description: "Answer with the value right after the operations" },
  },
} as const;

const responseSchema = {
  type: "object",
  required: ["results", "digest"],
  additionalProperties: false,
  properties: {
    results: { type: "array", items: {}, description: "What each operation returned, null for nothing" },
    digest: { type: "string" },
    value: { description: "When the request asked for it" },
  },
} as const;

/** Changing groups. */
export function operationRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post<{ Params: { readonly id: string }; Body: OperationsRequest; Headers: SessionHeaders }>(
    "/v1/groups/:id/operations",
    {
      config: { needs: { scope: "write", over: "group" } },
      schema: {
        summary: "Performs operations as one atomic event",
        tags: ["groups"],
        params: groupIdParams,
        headers: sessionHeadersSchema,
        body: requestSchema,
        response: { 200: responseSchema },
      },
    },
    async ({ params, body, headers }, reply) => {
      const sent = tokenOf(headers);
      return await perform(context, params.id, body, (write) => {
        answerSession(reply, sent, () => write.sessionToken);
      });
    },
  );
}

async function perform(
  context: RouteContext,
  text: string,
  request: OperationsRequest,
  onWrite: (write: Write<unknown>) => void,
): Promise<OperationsBody> {
  const id = parseGroupId(text);
  const type = typeOf(context, id, request);
  const run = compileOperations(context.types, type, request.operations);
  return await withDeadline(context, (request.timeoutMs ?? WAIT_MS_DEFAULT) + GRACE_MS, async (signal) => {
    const recreate = request.recreate ?? false;
    const wasDeleted = context.node.group(id)?.phase === "deleted";
    const replica = await context.node.open(id, type, { signal, recreate });
    try {
      return await mutate(context, replica, run, request, signal, onWrite);
    } catch (error) {
      // What was refused is no beginning. Should the storage take no deletion now, the group stays, empty.
      if (wasDeleted && replica.status.events === 0) await context.node.delete(id, { signal }).catch(() => {});
      throw error;
    } finally {
      replica.close();
    }
  });
}

async function mutate(
  context: RouteContext,
  replica: AnyReplica,
  run: (mutator: unknown) => unknown[],
  request: OperationsRequest,
  signal: AbortSignal,
  onWrite: (write: Write<unknown>) => void,
): Promise<OperationsBody> {
  const timeoutMs = Math.min(request.timeoutMs ?? WAIT_MS_DEFAULT, context.waitMsMax);
  const ack = request.ack === undefined ? {} : { ack: request.ack };
  const write = replica.mutate(run, { ...ack, timeoutMs, signal });
  const { result: results } = write;
  // Read before waiting: the answer is about these operations and not about what others did meanwhile.
  const digest = replica.digest();
  const value = request.value === true ? { value: toJson(replica.value()) } : {};
  try {
    await write;
  } catch (error) {
    throw new RequestFailure(error, { applied: true });
  }
  onWrite(write);
  return { results, digest, ...value };
}

/**
 * The type to open the group as. What is stored decides; `type`, or else that of the domain, creates. A group that was
 * deleted begins anew only as `recreate` says, so a type from its domain is no reason to be asked for one.
 */
function typeOf({ node, types, domains }: RouteContext, id: GroupId, request: OperationsRequest): AnyCrdtType {
  const status = node.group(id);
  const exists = status !== undefined && status.phase !== "deleted";
  if (exists && request.type !== undefined && request.type !== status.type) {
    const detail = `the group ${formatGroupId(id)} is a ${status.type}, not a ${request.type}`;
    throw new ReplicationError("TYPE_CONFLICT", detail);
  }
  if (exists) return types.get(status.type);
  const name = request.type ?? domains.typeOf(id);
  if (name !== undefined) return types.get(name);
  if (status === undefined) throw unknownGroup(id);
  throw new ServerError("INVALID_REQUEST", `the group ${formatGroupId(id)} was deleted; to begin anew, give its type`);
}
