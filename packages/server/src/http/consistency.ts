/** Reads that wait first: for what a session has written or seen on any node, or for what other members know. */
import { ReplicationError, mergeSessionTokens, sessionTokenConcerns } from "@coppice/replication";
import { type GroupId, formatGroupId, parseGroupId } from "@coppice/storage";
import type { GroupStatus } from "@coppice/replication";
import type { FastifyReply } from "fastify";
import { ServerError } from "../error.ts";
import { type AnyReplica, type RouteContext, findGroup, withDeadline } from "./context.ts";

/** The header of requests and answers that carries a session token; several are separated by commas. */
export const SESSION_HEADER = "session-token";

/** Headers of requests that may carry a session. */
export interface SessionHeaders {
  readonly "session-token"?: string;
}

export interface ReadQuery {
  readonly consistency?: string;
  readonly timeoutMs?: string;
}

export const sessionHeadersSchema = {
  type: "object",
  properties: {
    "session-token": { type: "string", description: "What answers gave as `Session-Token`: nothing older is read" },
  },
} as const;

export const readQueryProperties = {
  consistency: {
    type: "string",
    anyOf: [{ enum: ["local", "majority", "all"] }, { pattern: "^[1-9][0-9]{0,3}$" }],
    description: "Hear so many linked peers first, or a `majority` or `all` of the roster; by default `local`",
  },
  timeoutMs: { type: "string", pattern: "^[0-9]{1,9}$", description: "Longest wait for that, by default 10 000" },
} as const;

const WAIT_MS_DEFAULT = 10_000;
const LOOK_AGAIN_MS = 50;

/** What a read waits for. */
export class ReadWait {
  readonly #token: string;
  readonly #from: number | "majority" | "all" | undefined;
  readonly #timeoutMs: number;
  readonly #endAt: number;

  /** Throws `INVALID_TOKEN`. */
  constructor({ consistency = "local", timeoutMs }: ReadQuery, headers: SessionHeaders, waitMsMax: number) {
    this.#token = tokenOf(headers);
    this.#timeoutMs = Math.min(timeoutMs === undefined ? WAIT_MS_DEFAULT : Number(timeoutMs), waitMsMax);
    this.#endAt = performance.now() + this.#timeoutMs;
    if (consistency === "majority" || consistency === "all") this.#from = consistency;
    else this.#from = consistency === "local" ? undefined : Number(consistency);
  }

  /** The group; one that the session knows and this node does not yet is waited for. Errors: as {@link findGroup}. */
  async group(context: RouteContext, text: string): Promise<GroupStatus> {
    const id = parseGroupId(text);
    const isKnown = (): boolean => context.node.group(id) !== undefined;
    if (!isKnown() && this.#token !== "" && sessionTokenConcerns(this.#token, id))
      await this.#arrival(context, id, isKnown);
    return findGroup(context, text);
  }

  async #arrival(context: RouteContext, id: GroupId, isKnown: () => boolean): Promise<void> {
    while (!isKnown()) {
      context.closing.throwIfAborted();
      if (performance.now() >= this.#endAt) {
        const message = `the group ${formatGroupId(id)} of the session has not come here within ${this.#timeoutMs} ms`;
        throw new ReplicationError("TIMEOUT", message);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  /** Waits until a replica shows what was asked for. Fails with `TIMEOUT`, `NO_MEMBERSHIP`, `CLOSED`. */
  async before(context: RouteContext, replica: AnyReplica): Promise<void> {
    const [token, from] = [this.#token, this.#from];
    if (token === "" && from === undefined) return;
    const timeoutMs = Math.max(0, Math.round(this.#endAt - performance.now()));
    // The limits of the waits themselves come first: their errors say what is missing.
    await withDeadline(context, context.waitMsMax, async (signal) => {
      if (token !== "") await replica.atLeast(token, { timeoutMs, signal });
      if (from !== undefined) await replica.readBarrier({ from, timeoutMs, signal });
    });
  }

  /** Adds to the answer what the session has seen by now. */
  answer(reply: FastifyReply, token: () => string): void {
    answerSession(reply, this.#token, token);
  }
}

/** The one token of a request; the empty text when it has none. Throws `INVALID_TOKEN`. */
export function tokenOf(headers: SessionHeaders): string {
  const text = headers[SESSION_HEADER];
  if (text === undefined || text === "") return "";
  const tokens = text.split(",").map((part) => part.trim());
  if (tokens.length > TOKENS_MAX) throw new ServerError("INVALID_REQUEST", `at most ${TOKENS_MAX} session tokens`);
  return mergeSessionTokens(...tokens);
}

const TOKENS_MAX = 16;

/** Answers with one token for all that the request had and `token` adds. */
export function answerSession(reply: FastifyReply, sent: string, token: () => string): void {
  try {
    void reply.header(SESSION_HEADER, sent === "" ? token() : mergeSessionTokens(sent, token()));
  } catch (error) {
    // Too many groups or writers for one token: the client goes on with the one that it has.
    if (!(error instanceof ReplicationError) || error.code !== "LIMIT_EXCEEDED") throw error;
  }
}
