/**
 * Work that may take minutes. A client that accepts `text/event-stream` is told how far it is:
 *
 * | event      | data                                                |
 * |------------|-----------------------------------------------------|
 * | `progress` | `{"done", "total"}`, a few times a second           |
 * | `result`   | what other clients get as the answer; the last one  |
 * | `error`    | the problem that ended it; the last one             |
 */
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { ReplicationError } from "@coppice/replication";
import type { FastifyReply, FastifyRequest } from "fastify";
import { toProblem } from "./problem.ts";

/** How far a piece of work is. */
export interface WorkProgress {
  readonly done: number;
  readonly total: number;
}

/** Does the work; tells how far it is; ends when the signal fires. */
export type Work<Result> = (tell: (progress: WorkProgress) => void, signal: AbortSignal) => Promise<Result>;

const TELL_MS = 200;

/** Answers with the result, or with a stream of events for a client that wants one. Ends when the server closes. */
export async function answerWork<Result>(
  request: FastifyRequest,
  reply: FastifyReply,
  closing: AbortSignal,
  work: Work<Result>,
): Promise<Result | FastifyReply> {
  if (request.headers.accept?.includes("text/event-stream") !== true) return await work(() => undefined, closing);
  return reply
    .type("text/event-stream; charset=utf-8")
    .header("cache-control", "no-store")
    .send(Readable.from(tellOf(work, closing), { objectMode: false }));
}

async function* tellOf<Result>(work: Work<Result>, closing: AbortSignal): AsyncGenerator<string> {
  const controller = new AbortController();
  const onClosing = (): void => controller.abort(closing.reason);
  closing.addEventListener("abort", onClosing, { once: true });
  let latest: WorkProgress | undefined;
  const finished = work(({ done, total }) => (latest = { done, total }), controller.signal).then(
    (result) => eventOf("result", result),
    (error: unknown) => eventOf("error", toProblem(error)),
  );
  try {
    for (;;) {
      const last = await Promise.race([finished, sleep(TELL_MS, undefined, { ref: false })]);
      if (latest !== undefined) yield eventOf("progress", latest);
      if (last === undefined) continue;
      yield last;
      return;
    }
  } finally {
    // The client is gone: nobody wants the rest.
    controller.abort(new ReplicationError("CLOSED", "the client went away"));
    closing.removeEventListener("abort", onClosing);
  }
}

function eventOf(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
