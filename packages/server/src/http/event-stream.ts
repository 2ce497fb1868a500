import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import type { Grant } from "../auth/grant.ts";
import { ServerError } from "../error.ts";
import { toProblem } from "./problem.ts";
import type { Sent } from "./watch-hub.ts";

/** Proxies and dead peers: something goes over the connection at least this often. */
const HEARTBEAT_MS = 15_000;
/** What a client waits before it connects again. */
const RETRY_MS = 1000;

/** What a stream tells its owner. */
export interface StreamEvents {
  /** The reader has caught up. */
  drained?(): void;
  /** The reader has gone, or the stream has ended. */
  closed(): void;
}

/** One response that carries server-sent events. */
export class EventStream {
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

  /** Sends the head: from here on the response is a stream. It ends with `TOKEN_REVOKED` when the token does. */
  begin(grant: Grant, { drained, closed }: StreamEvents): void {
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
      drained?.();
    });
    const stopListening = grant.onEnd(() => this.#refuse());
    raw.on("close", () => {
      stopListening();
      clearInterval(this.#heartbeat);
      clearTimeout(this.#stalled);
      closed();
    });
    this.#heartbeat = setInterval(() => {
      if (this.#stalled === undefined) this.#write(": still here\n\n");
    }, HEARTBEAT_MS);
    this.#heartbeat.unref();
    if (raw.destroyed) raw.emit("close");
  }

  /** `refused`: the reader is behind, and gets nothing until `drained`. */
  send(event: string, data: string, id = ""): Sent {
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
