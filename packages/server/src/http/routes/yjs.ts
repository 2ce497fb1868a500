import type { YjsMutator, YjsView } from "@coppice/crdt/yjs";
import type { Replica } from "@coppice/replication";
import { type GroupId, parseGroupId } from "@coppice/storage";
import type { FastifyInstance } from "fastify";
import { type RouteContext, withDeadline } from "../context.ts";
import type { Grant } from "../../auth/grant.ts";
import { toProblem } from "../problem.ts";
import { Rooms } from "../rooms.ts";
import { groupIdParams } from "../schemas.ts";
import { GuardedSocket, POLICY_VIOLATION } from "../sockets.ts";
import { type YjsClient, type YjsLibrary, YjsRoom } from "../yjs-room.ts";

const YJS_TYPE = "yjs";

/**
 * What the provider of y-websocket connects to: `new WebsocketProvider(url + "/v1/yjs", encodeURIComponent(id), doc,
 * { protocols: ["coppice", "bearer.TOKEN"] })`. A group that is new is created, when the token allows changes.
 */
export function yjsRoutes(app: FastifyInstance, context: RouteContext, yjs: YjsLibrary): void {
  const rooms = new Rooms(context.watchers, (id) => openRoom(context, yjs, id));
  app.get<{ Params: { readonly id: string } }>(
    "/v1/yjs/:id",
    {
      config: { needs: { scope: "read", over: "group" }, isSocket: true },
      websocket: true,
      schema: {
        summary: "A Yjs document over the WebSocket protocol of y-websocket",
        tags: ["documents"],
        params: groupIdParams,
        response: { 101: { type: "null", description: "The protocol changes to WebSocket" } },
      },
      preValidation: async ({ params, grant }) => {
        const exists = context.node.group(parseGroupId(params.id)) !== undefined;
        if (!exists) grant.require("write");
      },
    },
    (socket, { grant, params }) => {
      void serveEditor(new GuardedSocket(socket, grant, context.limits), rooms, grant, parseGroupId(params.id));
    },
  );
}

async function serveEditor(socket: GuardedSocket, rooms: Rooms<YjsRoom>, grant: Grant, id: GroupId): Promise<void> {
  const client: YjsClient = {
    send: (message) => socket.send(message),
    mayWrite: () => grant.permits("write"),
    gone: () => socket.close(POLICY_VIOLATION, "GROUP_DELETED"),
  };
  try {
    const { room, leave } = await rooms.enter(id);
    try {
      room.join(client);
      socket.listen({
        message: (message) => {
          try {
            room.receive(client, message);
          } catch (error) {
            socket.close(POLICY_VIOLATION, toProblem(error).code);
          }
        },
        drained: () => room.catchUp(client),
      });
      await socket.closed;
      room.leave(client);
    } finally {
      leave();
    }
  } catch (error) {
    socket.close(POLICY_VIOLATION, toProblem(error).code);
  }
}

async function openRoom(context: RouteContext, yjs: YjsLibrary, id: GroupId): Promise<YjsRoom> {
  const { node, types, waitMsMax } = context;
  const type = types.get(YJS_TYPE);
  const replica = await withDeadline(context, waitMsMax, (signal) => node.open(id, type, { signal }));
  return new YjsRoom(yjs, replica as Replica<unknown, YjsMutator, YjsView>, () => node.members(id));
}
