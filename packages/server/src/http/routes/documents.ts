import type { AckLevel } from "@coppice/replication";
import { parseGroupId } from "@coppice/storage";
import type { FastifyInstance, FastifyReply } from "fastify";
import { ServerError } from "../../error.ts";
import { type RouteContext, findGroup, unknownGroup, withDeadline, withReplica } from "../context.ts";
import type { DocumentFormat } from "../document-formats.ts";
import { entityTag, isKnown } from "../etag.ts";
import { RequestFailure } from "../problem.ts";
import { groupIdParams } from "../schemas.ts";

interface ReadRequest {
  readonly Params: { readonly id: string };
  readonly Querystring: { readonly since?: string };
  readonly Headers: { readonly "if-none-match"?: string };
}

interface WriteRequest {
  readonly Params: { readonly id: string };
  readonly Querystring: { readonly type?: string; readonly ack?: AckLevel & string };
  readonly Body: Buffer;
}

const WAIT_MS = 10_000;
const BINARY = "application/octet-stream";

/** Documents as bytes, for programs that have the library. */
export function documentRoutes(
  app: FastifyInstance,
  context: RouteContext,
  formats: ReadonlyMap<string, DocumentFormat>,
): void {
  app.addContentTypeParser(BINARY, { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.get<ReadRequest>(
    "/v1/groups/:id/document",
    {
      config: { needs: { scope: "read", over: "group" } },
      schema: {
        summary: "A Yjs or Automerge document as bytes, or what one that has `since` lacks",
        tags: ["documents"],
        params: groupIdParams,
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: { since: { type: "string", description: "Yjs: a state vector as Base64url. Automerge: heads" } },
        },
        response: {
          200: { type: "string", description: "An update of Yjs, or changes of Automerge" },
          304: { type: "null" },
        },
        produces: [BINARY],
      },
    },
    async ({ params, query, headers }, reply) => {
      const status = findGroup(context, params.id);
      const format = formatOf(formats, status.type);
      return await withReplica(context, status, (replica): FastifyReply => {
        const tag = entityTag(replica.digest());
        void reply.header("etag", tag);
        if (isKnown(headers["if-none-match"], tag)) return reply.code(304).send();
        const bytes = replica.read((view) => format.encode(view, query.since));
        return reply.type(BINARY).send(Buffer.from(bytes));
      });
    },
  );
  app.post<WriteRequest>(
    "/v1/groups/:id/document",
    {
      config: { needs: { scope: "write", over: "group" }, accepts: BINARY },
      schema: {
        summary: "Applies an update to a Yjs or Automerge document, as one event",
        tags: ["documents"],
        params: groupIdParams,
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            type: { type: "string", enum: ["yjs", "automerge"], description: "Creates the group when it is new" },
            ack: { type: "string", enum: ["memory", "log", "sync"], description: "What to wait for" },
          },
        },
        response: {
          200: {
            type: "object",
            required: ["digest"],
            additionalProperties: false,
            properties: { digest: { type: "string", description: "Right after the update" } },
          },
        },
      },
    },
    async ({ params, query, body }) => await apply(context, formats, params.id, query, body),
  );
}

async function apply(
  context: RouteContext,
  formats: ReadonlyMap<string, DocumentFormat>,
  text: string,
  { type, ack }: WriteRequest["Querystring"],
  update: Buffer,
): Promise<{ digest: string }> {
  const id = parseGroupId(text);
  const name = context.node.group(id)?.type ?? type ?? context.domains.typeOf(id);
  if (name === undefined) throw unknownGroup(id);
  const format = formatOf(formats, name);
  // What is stored under another type than is asked for is refused as it is opened.
  const crdt = context.types.get(type ?? name);
  return await withDeadline(context, WAIT_MS, async (signal) => {
    const replica = await context.node.open(id, crdt, { signal });
    try {
      const write = replica.mutate((mutator) => format.apply(mutator, new Uint8Array(update)), {
        signal,
        ...(ack === undefined ? {} : { ack }),
      });
      const digest = replica.digest();
      await acknowledged(write);
      return { digest };
    } finally {
      replica.close();
    }
  });
}

async function acknowledged(write: PromiseLike<unknown>): Promise<void> {
  try {
    await write;
  } catch (error) {
    throw new RequestFailure(error, { applied: true });
  }
}

function formatOf(formats: ReadonlyMap<string, DocumentFormat>, type: string): DocumentFormat {
  const format = formats.get(type);
  if (format !== undefined) return format;
  throw new ServerError("INVALID_REQUEST", `a ${type} is no document; read its value and use operations`);
}
