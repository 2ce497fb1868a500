import type { YjsMutator, YjsView } from "@coppice/crdt/yjs";
import { type Replica, ReplicationError } from "@coppice/replication";
import { encodeGroupId, parseGroupId } from "@coppice/storage";
import type { FastifyInstance } from "fastify";
import type * as Yjs from "yjs";
import { type RouteContext, withDeadline } from "../context.ts";
import type { Grant } from "../../auth/grant.ts";
import { toProblem } from "../problem.ts";
import { groupIdParams } from "../schemas.ts";
import { GuardedSocket, POLICY_VIOLATION } from "../sockets.ts";
import { type YjsClient, YjsRoom } from "../yjs-room.ts";

const YJS_TYPE = "yjs";

/**
 * What the provider of y-websocket connects to: `new WebsocketProvider(url + "/v1/yjs", encodeURIComponent(id), doc,
 * { protocols: ["coppice", "bearer.TOKEN"] })`. A group that is new is created, when the token allows changes.
 */
export function yjsRoutes(app: FastifyInstance, context: RouteContext, yjs: typeof Yjs): void {
  const rooms = new Rooms(context, yjs);
  app.get<{ Params: { readonly id: string } }>(
    "/v1/yjs/:id",
    {
      config: { needs: { scope: "read", over: "group" } },
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
      void serveEditor(new GuardedSocket(socket, grant, context.limits), rooms, grant, params.id);
    },
  );
}

async function serveEditor(socket: GuardedSocket, rooms: Rooms, grant: Grant, id: string): Promise<void> {
  const client: YjsClient = {
    send: (message) => socket.send(message),
    mayWrite: () => grant.permits("write"),
  };
  // Listening begins at once: what arrives while the group is being opened waits.
  const early: Buffer[] = [];
  let room: YjsRoom | undefined;
  const receive = (message: Buffer): void => {
    try {
      room?.receive(client, message);
    } catch (error) {
      socket.close(POLICY_VIOLATION, toProblem(error).code);
    }
  };
  socket.listen({
    message: (message) => {
      if (room === undefined) early.push(message);
      else receive(message);
    },
    drained: () => room?.catchUp(client),
  });
  try {
    await rooms.use(id, async (opened) => {
      room = opened;
      room.join(client);
      for (const message of early) receive(message);
      await socket.closed;
      room.leave(client);
    });
  } catch (error) {
    socket.close(POLICY_VIOLATION, toProblem(error).code);
  }
}

/** The rooms that have somebody in them. */
class Rooms {
  readonly #context: RouteContext;
  readonly #yjs: typeof Yjs;
  readonly #rooms = new Map<string, { readonly room: Promise<YjsRoom>; users: number }>();

  constructor(context: RouteContext, yjs: typeof Yjs) {
    this.#context = context;
    this.#yjs = yjs;
  }

  /** Opens the room of a group for as long as `use` runs; it closes with its last user. */
  async use(id: string, use: (room: YjsRoom) => Promise<void>): Promise<void> {
    const leave = this.#context.watchers.take();
    const key = encodeGroupId(parseGroupId(id));
    const entry = this.#rooms.get(key) ?? { room: this.#open(id), users: 0 };
    this.#rooms.set(key, entry);
    entry.users++;
    try {
      await use(await entry.room);
    } finally {
      leave();
      entry.users--;
      if (entry.users === 0) {
        this.#rooms.delete(key);
        void entry.room.then(
          (room) => room.close(),
          () => undefined,
        );
      }
    }
  }

  async #open(id: string): Promise<YjsRoom> {
    const { node, types, waitMsMax } = this.#context;
    const type = types.get(YJS_TYPE);
    const replica = await withDeadline(this.#context, waitMsMax, (signal) =>
      node.open(parseGroupId(id), type, { signal }),
    );
    if (replica.type.name !== YJS_TYPE)
      throw new ReplicationError("TYPE_CONFLICT", `the group ${id} is no ${YJS_TYPE}`);
    return new YjsRoom(this.#yjs, replica as Replica<unknown, YjsMutator, YjsView>);
  }
}
