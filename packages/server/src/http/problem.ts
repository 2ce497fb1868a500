/** Errors as `application/problem+json` (RFC 9457), carrying the library's code. */
import { CrdtError, type CrdtErrorCode } from "@coppice/crdt";
import { ReplicationError, type ReplicationErrorCode } from "@coppice/replication";
import { StorageError, type StorageErrorCode } from "@coppice/storage";
import type { FastifyError } from "fastify";
import { ServerError, type ServerErrorCode } from "../error.ts";
import { describeMismatch } from "./mismatch.ts";

/** The body of every response that is an error. */
export interface Problem {
  /** `urn:coppice:error:` and the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** What to branch on: the code of the library's error. */
  readonly code: string;
  readonly detail: string;
  /** Whether the mutation took effect here nevertheless: only its acknowledgement failed. */
  readonly applied?: boolean;
  /** Which operation of a batch was refused. */
  readonly operation?: number;
  /** Seconds until it makes sense to try again; also the header `Retry-After`. */
  readonly retryAfterSeconds?: number;
}

/** What only the route knows of an error. */
export type ProblemDetails = Pick<Problem, "applied" | "operation" | "retryAfterSeconds">;

export type ErrorCode = CrdtErrorCode | ReplicationErrorCode | StorageErrorCode | ServerErrorCode;

/** The HTTP status of each code; what is not here is a refusal of the type, or a state of the node. */
const STATUS: { readonly [code: string]: number | undefined } = {
  ABORTED: 503,
  ACK_UNAVAILABLE: 422,
  ADDRESS_IN_USE: 503,
  APPLIED_NOT_DURABLE: 503,
  BAD_ADDRESS: 400,
  BODY_TOO_LARGE: 413,
  CLOCK_SKEW: 503,
  CLOSED: 503,
  CORRUPT: 500,
  DIAL_FAILED: 502,
  EXISTS: 409,
  FORBIDDEN: 403,
  FRAME_TOO_LARGE: 422,
  FULL: 507,
  GROUP_DEGRADED: 503,
  GROUP_DELETED: 410,
  HOST_NOT_ALLOWED: 421,
  INSUFFICIENT_RIGHTS: 409,
  INTERNAL: 500,
  IN_USE: 409,
  INVALID_ADAPTER: 500,
  INVALID_GROUP_ID: 400,
  INVALID_OPERATION: 422,
  INVALID_OPTIONS: 400,
  INVALID_REQUEST: 400,
  INVALID_TOKEN: 400,
  INVALID_VALUE: 422,
  IO: 503,
  LIMIT_EXCEEDED: 422,
  LOAD_FAILED: 500,
  LOCKED: 409,
  MALFORMED: 422,
  MALFORMED_FRAME: 502,
  METHOD_NOT_ALLOWED: 405,
  NO_MEMBERSHIP: 409,
  NOT_ADMITTED: 502,
  NOT_FOUND: 404,
  NOT_OPEN: 503,
  ORIGIN_NOT_ALLOWED: 403,
  OUT_OF_REACH: 409,
  RATE_LIMITED: 429,
  STORAGE_FAILED: 503,
  TIMEOUT: 504,
  TOKEN_REVOKED: 401,
  TYPE_CONFLICT: 409,
  UNAUTHORIZED: 401,
  UNKNOWN_GROUP: 404,
  UNKNOWN_OPERATION: 422,
  UNKNOWN_TYPE: 422,
  UNSAFE_BIND: 400,
  UNSUPPORTED_FORMAT: 500,
  UNSUPPORTED_MEDIA_TYPE: 415,
  UNSUPPORTED_VERSION: 422,
  VIEW_FAILED: 500,
};

const UNPROCESSABLE = 422;
const UNAVAILABLE = 503;

/** An error on its way out, with what only the route knows about it. */
export class RequestFailure extends Error {
  override readonly name = "RequestFailure";
  readonly details: ProblemDetails;

  constructor(cause: unknown, details: ProblemDetails) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.details = details;
  }
}

/** The problem that an error of a request is reported as. An unexpected error keeps its text to itself. */
export function toProblem(error: unknown): Problem {
  if (error instanceof RequestFailure) return { ...toProblem(error.cause), ...error.details };
  const known = knownError(error);
  if (known !== undefined) {
    return problem(known.code, known.message, error instanceof CrdtError ? UNPROCESSABLE : UNAVAILABLE);
  }
  const fastify = error as Partial<FastifyError>;
  return fromFastify(fastify) ?? problem("INTERNAL", "the server failed; its log has the cause");
}

function knownError(error: unknown): { code: ErrorCode; message: string } | undefined {
  if (error instanceof CrdtError || error instanceof ReplicationError) return error;
  if (error instanceof StorageError || error instanceof ServerError) return error;
  // What a signal of `AbortSignal.timeout` leaves behind.
  if (error instanceof DOMException && error.name === "TimeoutError")
    return { code: "TIMEOUT", message: error.message };
  return undefined;
}

function fromFastify(error: Partial<FastifyError>): Problem | undefined {
  const message = error.message ?? "";
  if (error.validation !== undefined) {
    return problem("INVALID_REQUEST", describeMismatch(error.validation, error.validationContext ?? "body"));
  }
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return problem(
      "BODY_TOO_LARGE",
      "the body is over this server's limit (--http-body-bytes-max): send less at a time",
    );
  }
  if (error.code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") return problem("UNSUPPORTED_MEDIA_TYPE", message);
  const status = error.statusCode ?? 500;
  return status >= 400 && status < 500 ? problem("INVALID_REQUEST", message) : undefined;
}

function problem(code: ErrorCode, detail: string, fallback = UNAVAILABLE): Problem {
  const title = code.charAt(0) + code.slice(1).toLowerCase().replaceAll("_", " ");
  return { type: `urn:coppice:error:${code}`, title, status: STATUS[code] ?? fallback, code, detail };
}
