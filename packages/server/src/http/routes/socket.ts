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
import { parseGroupId } from "@coppice/storage";
import type { FastifyInstance } from "fastify";
import { ServerError } from "../../error.ts";
import { type RouteContext, findGroup } from "../context.ts";
import type { Grant } from "../../auth/grant.ts";
import { toProblem } from "../problem.ts";
import { GuardedSocket, MESSAGE_TOO_BIG } from "../sockets.ts";
import type { Watch, WatchEvent, WatchHub, Watcher } from "../watch-hub.ts";

const WATCHES_MAX = 1000;
const MESSAGE_BYTES_MAX = 64 * 1024;

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
      config: { needs: { scope: "read", over: "any" }, isSocket: true },
      websocket: true,
      schema: {
        summary: "A WebSocket that watches groups; the token may also be the subprotocol `bearer.TOKEN`",
        tags: ["groups"],
        response: { 101: { type: "null", description: "The protocol changes to WebSocket" } },
      },
    },
    (socket, { grant }) => {
      void new SocketSession(new GuardedSocket(socket, grant, context.limits), context, hub, grant).run();
    },
  );
}

/** One watch that was asked for; it has a place in its group once that is open. */
interface Watched {
  place: Watch | undefined;
}

class SocketSession {
  readonly #socket: GuardedSocket;
  readonly #context: RouteContext;
  readonly #hub: WatchHub;
  readonly #grant: Grant;
  readonly #watches = new Map<string, Watched>();

  constructor(socket: GuardedSocket, context: RouteContext, hub: WatchHub, grant: Grant) {
    this.#socket = socket;
    this.#context = context;
    this.#hub = hub;
    this.#grant = grant;
  }

  async run(): Promise<void> {
    this.#socket.listen({
      message: (data, isBinary) => {
        if (data.length > MESSAGE_BYTES_MAX) this.#socket.close(MESSAGE_TOO_BIG, "BODY_TOO_LARGE");
        else void this.#receive(isBinary ? "" : data.toString());
      },
      drained: () => this.#resume(),
    });
    await this.#socket.closed;
    for (const { place } of this.#watches.values()) place?.stop();
    this.#watches.clear();
  }

  async #receive(text: string): Promise<void> {
    let id: string | undefined;
    try {
      const message = parse(text);
      if (typeof message.watch === "string") {
        id = message.watch;
        await this.#watch(id, typeof message.after === "string" ? message.after : undefined);
      } else if (typeof message.unwatch === "string") {
        this.#watches.get(message.unwatch)?.place?.stop();
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
    const watched: Watched = { place: undefined };
    this.#watches.set(id, watched);
    try {
      const place = await this.#hub.watch(group, this.#watcher(id, watched), after);
      if (this.#isWatched(id, watched)) watched.place = place;
      else place.stop();
    } catch (error) {
      if (this.#isWatched(id, watched)) this.#watches.delete(id);
      throw error;
    }
  }

  /** Whether it was not unwatched, and perhaps watched anew, while it was being opened; nor has the socket closed. */
  #isWatched(id: string, watched: Watched): boolean {
    return this.#watches.get(id) === watched;
  }

  #watcher(id: string, watched: Watched): Watcher {
    return {
      send: ({ event, data }: WatchEvent) => {
        if (this.#socket.isFull) return "refused";
        return this.#socket.send(`{"event":"${event}",${data.slice(1)}`) ? "more" : "last";
      },
      end: () => {
        if (this.#isWatched(id, watched)) this.#watches.delete(id);
        watched.place?.stop();
      },
    };
  }

  /** Each that was behind is told its value, as long as there is room. */
  #resume(): void {
    for (const { place } of this.#watches.values()) {
      if (this.#socket.isFull) return;
      place?.resume();
    }
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
