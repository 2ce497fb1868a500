import type * as Automerge from "@automerge/automerge";
import type { AutomergeMutator, AutomergeView } from "@coppice/crdt/automerge";
import type { Replica } from "@coppice/replication";
import type { GroupId } from "@coppice/storage";
import type { FastifyInstance } from "fastify";
import { ServerError } from "../../error.ts";
import { AutomergeRoom } from "../automerge-room.ts";
import { type AutomergeHost, AutomergeSession } from "../automerge-session.ts";
import { type RouteContext, withDeadline } from "../context.ts";
import { Rooms } from "../rooms.ts";
import { GuardedSocket } from "../sockets.ts";

const AUTOMERGE_TYPE = "automerge";

/**
 * What the WebSocket adapter of automerge-repo connects to: `new WebSocketClientAdapter(url +
 * "/v1/automerge-repo?token=TOKEN")`. Its document `ID` is the group `[domain, ID]`.
 */
export function automergeRoutes(
  app: FastifyInstance,
  context: RouteContext,
  automerge: typeof Automerge,
  domain: string,
): void {
  const host: AutomergeHost = {
    node: context.node,
    rooms: new Rooms(context.watchers, (id) => openRoom(context, automerge, id)),
    groupOf: (documentId) => [domain, documentId],
    hasHeads: (message) => headsOf(automerge, message) > 0,
  };
  app.get(
    "/v1/automerge-repo",
    {
      websocket: true,
      // Each document is in the same domain, which each message is checked for.
      config: { needs: { scope: "read", over: "any" }, takesTokenInQuery: true, isSocket: true },
      schema: {
        summary: "Automerge documents over the WebSocket protocol of automerge-repo",
        tags: ["documents"],
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: { token: { type: "string", description: "The token, for clients that can send no header" } },
        },
        response: { 101: { type: "null", description: "The protocol changes to WebSocket" } },
      },
    },
    (socket, { grant }) => {
      void new AutomergeSession(new GuardedSocket(socket, grant, context.limits), grant, host).run();
    },
  );
}

function headsOf(automerge: typeof Automerge, message: Uint8Array): number {
  try {
    return automerge.decodeSyncMessage(message).heads.length;
  } catch (cause) {
    throw new ServerError("INVALID_REQUEST", "this is no sync message of Automerge", { cause });
  }
}

async function openRoom(context: RouteContext, automerge: typeof Automerge, id: GroupId): Promise<AutomergeRoom> {
  const { node, types, waitMsMax } = context;
  const type = types.get(AUTOMERGE_TYPE);
  const replica = await withDeadline(context, waitMsMax, (signal) => node.open(id, type, { signal }));
  type Content = Record<string, unknown>;
  return new AutomergeRoom(automerge, replica as Replica<Content, AutomergeMutator<Content>, AutomergeView<Content>>);
}
