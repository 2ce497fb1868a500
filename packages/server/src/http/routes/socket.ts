/**
 * Watching many groups over one WebSocket. Messages are JSON texts:
 *
 * | from   | message                                  | says                                                   |
 * |--------|------------------------------------------|--------------------------------------------------------|
 * | client | `{"watch": ID, "after": DIGEST}`         | tell the value of a group; `after` (optional) resumes  |
 * | client | `{"unwatch": ID}`                        | no longer                                              |
 * | server | `{"event": "value", "id", "digest", "value"}` | the value, now and after each change              |
 * | server | `{"event": "deleted", "id"}`             | the group is gone                                      |
 * | server | `{"event": "error", "id", "code", "detail"}` | the watch of `id` failed, or a message was refused |
 */
import type { WebSocket } from "@fastify/websocket";
import { parseGroupId } from "@coppice/storage";
import type { FastifyInstance } from "fastify";
import { ServerError } from "../../error.ts";
import { type RouteContext, findGroup } from "../context.ts";
import type { Grant } from "../../auth/grant.ts";
import { toProblem } from "../problem.ts";
import { closeWhenRevoked } from "../sockets.ts";
import type { Watch, WatchEvent, WatchHub, Watcher } from "../watch-hub.ts";

/** Above this much unsent data nothing more is sent until it has gone. */
const BUFFER_BYTES_MAX = 1 << 20;
const HEARTBEAT_MS = 15_000;
const WATCHES_MAX = 1000;
const MESSAGE_BYTES_MAX = 64 * 1024;
const MESSAGE_TOO_BIG = 1009;

interface Message {
  readonly watch?: unknown;
  readonly unwatch?: unknown;
  readonly after?: unknown;
}

/** The WebSocket. The guard has checked host, origin and token before the upgrade. */
export function socketRoutes(app: FastifyInstance, context: RouteContext, hub: WatchHub): void {
  app.get(
    "/v1/watch",
    {
      config: { needs: { scope: "read", over: "any" } },
      websocket: true,
      schema: {
        summary: "A WebSocket that watches groups; the token may also be the subprotocol `bearer.TOKEN`",
        tags: ["groups"],
        response: { 101: { type: "null", description: "The protocol changes to WebSocket" } },
      },
    },
    (socket, { grant }) => {
      const session = new SocketSession(socket, context, hub, grant);
      closeWhenRevoked(socket, grant);
      socket.on("message", (data: Buffer, isBinary: boolean) => {
        if (data.length > MESSAGE_BYTES_MAX) socket.close(MESSAGE_TOO_BIG, "BODY_TOO_LARGE");
        else void session.receive(isBinary ? "" : data.toString());
      });
    },
  );
}

class SocketSession {
  readonly #socket: WebSocket;
  readonly #context: RouteContext;
  readonly #hub: WatchHub;
  readonly #grant: Grant;
  /** What is watched; undefined while the watch is being opened. */
  readonly #watches = new Map<string, Watch | undefined>();
  readonly #heartbeat: NodeJS.Timeout;
  #isAlive = true;

  constructor(socket: WebSocket, context: RouteContext, hub: WatchHub, grant: Grant) {
    this.#socket = socket;
    this.#context = context;
    this.#hub = hub;
    this.#grant = grant;
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#heartbeat.unref();
    socket.on("pong", () => (this.#isAlive = true));
    // An error is followed by a close.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearInterval(this.#heartbeat);
      for (const watch of this.#watches.values()) watch?.stop();
      this.#watches.clear();
    });
  }

  async receive(text: string): Promise<void> {
    let id: string | undefined;
    try {
      const message = parse(text);
      if (typeof message.watch === "string") {
        id = message.watch;
        await this.#watch(id, typeof message.after === "string" ? message.after : undefined);
      } else if (typeof message.unwatch === "string") {
        this.#watches.get(message.unwatch)?.stop();
        this.#watches.delete(message.unwatch);
      } else throw new ServerError("INVALID_REQUEST", 'a message is {"watch": ID} or {"unwatch": ID}');
    } catch (error) {
      const { code, detail } = toProblem(error);
      this.#socket.send(JSON.stringify({ event: "error", ...(id === undefined ? {} : { id }), code, detail }));
    }
  }

  async #watch(id: string, after: string | undefined): Promise<void> {
    if (this.#watches.has(id)) throw new ServerError("INVALID_REQUEST", `${id} is watched already`);
    if (this.#watches.size >= WATCHES_MAX) {
      throw new ServerError("INVALID_REQUEST", `a socket watches at most ${WATCHES_MAX} groups`);
    }
    this.#grant.require("read", parseGroupId(id));
    const group = findGroup(this.#context, id);
    this.#watches.set(id, undefined);
    try {
      const watch = await this.#hub.watch(group, this.#watcher(id), after);
      // Unwatched, or disconnected, meanwhile.
      if (this.#watches.has(id)) this.#watches.set(id, watch);
      else watch.stop();
    } catch (error) {
      this.#watches.delete(id);
      throw error;
    }
  }

  #watcher(id: string): Watcher {
    return {
      send: ({ event, data }: WatchEvent) => {
        const text = `{"event":"${event}",${data.slice(1)}`;
        this.#socket.send(text, () => {
          if (this.#socket.bufferedAmount < BUFFER_BYTES_MAX) this.#watches.get(id)?.resume();
        });
        return this.#socket.bufferedAmount < BUFFER_BYTES_MAX;
      },
      end: () => {
        this.#watches.delete(id);
      },
    };
  }

  #beat(): void {
    if (!this.#isAlive) {
      this.#socket.terminate();
      return;
    }
    this.#isAlive = false;
    this.#socket.ping();
  }
}

function parse(text: string): Message {
  try {
    const message: unknown = JSON.parse(text);
    return typeof message === "object" && message !== null ? message : {};
  } catch {
    return {};
  }
}
