import type { ServerResponse } from "node:http";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { Grant } from "../../auth/grant.ts";
import { ServerError } from "../../error.ts";
import { type RouteContext, findGroup } from "../context.ts";
import { toProblem } from "../problem.ts";
import { groupIdParams } from "../schemas.ts";
import type { Sent, Watch, WatchEvent, WatchHub, Watcher } from "../watch-hub.ts";

/** Proxies and dead peers: something goes over the connection at least this often. */
const HEARTBEAT_MS = 15_000;
/** What a client waits before it connects again. */
const RETRY_MS = 1000;

interface WatchRequest {
  readonly Params: { readonly id: string };
  readonly Querystring: { readonly after?: string };
  readonly Headers: { readonly "last-event-id"?: string };
}

/** Server-sent events: the value of a group, now and whenever it changes. */
export function watchRoutes(app: FastifyInstance, context: RouteContext, hub: WatchHub): void {
  app.get<WatchRequest>(
    "/v1/groups/:id/watch",
    {
      config: { needs: { scope: "read", over: "group" } },
      schema: {
        summary: "Server-sent events: the value now and after each change; `Last-Event-ID` resumes",
        tags: ["groups"],
        params: groupIdParams,
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            after: { type: "string", description: "As `Last-Event-ID`: the digest that is known already" },
          },
        },
        response: {
          200: { description: "A stream of `value` events and at last `deleted` or `error`", type: "string" },
        },
        produces: ["text/event-stream"],
      },
    },
    async ({ params, query, headers, grant }, reply) => {
      const after = query.after ?? headers["last-event-id"];
      const stream = new EventStream(reply, context.limits.stalledMs);
      const watch = await hub.watch(findGroup(context, params.id), stream, after);
      stream.begin(watch, grant);
    },
  );
}

/** One response that carries events. */
class EventStream implements Watcher {
  readonly #reply: FastifyReply;
  readonly #raw: ServerResponse;
  readonly #stalledMs: number;
  #heartbeat: NodeJS.Timeout | undefined;
  #stalled: NodeJS.Timeout | undefined;

  /** @param stalledMs a reader that takes nothing for so long is disconnected */
  constructor(reply: FastifyReply, stalledMs: number) {
    this.#reply = reply;
    this.#stalledMs = stalledMs;
    this.#raw = reply.raw;
  }

  /** Sends the head: from here on the response is a stream. */
  begin(watch: Watch, grant: Grant): void {
    const raw = this.#raw;
    this.#reply.hijack();
    raw.writeHead(200, {
      ...(this.#reply.getHeaders() as Record<string, string>),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    raw.write(`retry: ${RETRY_MS}\n\n`);
    raw.on("drain", () => {
      clearTimeout(this.#stalled);
      this.#stalled = undefined;
      watch.resume();
    });
    const stopListening = grant.onEnd(() => this.#refuse());
    raw.on("close", () => {
      stopListening();
      clearInterval(this.#heartbeat);
      clearTimeout(this.#stalled);
      watch.stop();
    });
    this.#heartbeat = setInterval(() => {
      if (this.#stalled === undefined) this.#write(": still here\n\n");
    }, HEARTBEAT_MS);
    this.#heartbeat.unref();
    if (raw.destroyed) raw.emit("close");
  }

  send({ event, id, data }: WatchEvent): Sent {
    if (this.#stalled !== undefined) return "refused";
    return this.#write(`event: ${event}\n${id === "" ? "" : `id: ${id}\n`}data: ${data}\n\n`) ? "more" : "last";
  }

  end(): void {
    this.#raw.end();
  }

  #refuse(): void {
    const { code, detail } = toProblem(new ServerError("TOKEN_REVOKED", "the token was revoked or has expired"));
    this.#write(`event: error\ndata: ${JSON.stringify({ code, detail })}\n\n`);
    this.end();
  }

  #write(text: string): boolean {
    if (this.#raw.destroyed || this.#raw.writableEnded) return true;
    if (this.#raw.write(text)) return true;
    this.#stalled ??= setTimeout(() => this.#raw.destroy(), this.#stalledMs);
    return false;
  }
}
