import { type GroupId, formatGroupId } from "@coppice/storage";

/** Codes of {@link ReplicationError}; `docs/errors.md` says what to do about each. */
export type ReplicationErrorCode =
  | "ACK_UNAVAILABLE"
  | "APPLIED_NOT_DURABLE"
  | "BAD_ADDRESS"
  | "CLOCK_SKEW"
  | "CLOSED"
  | "DIAL_FAILED"
  | "FRAME_TOO_LARGE"
  | "GROUP_DEGRADED"
  | "GROUP_DELETED"
  | "INVALID_OPTIONS"
  | "INVALID_TOKEN"
  | "LIMIT_EXCEEDED"
  | "MALFORMED_FRAME"
  | "NOT_ADMITTED"
  | "NO_MEMBERSHIP"
  | "OUT_OF_REACH"
  | "STORAGE_FAILED"
  | "TIMEOUT"
  | "TYPE_CONFLICT"
  | "UNKNOWN_GROUP"
  | "UNKNOWN_TYPE";

/** Every error this package throws on purpose, apart from `TypeError` for programmers' mistakes. */
export class ReplicationError extends Error {
  override readonly name = "ReplicationError";
  readonly code: ReplicationErrorCode;

  constructor(code: ReplicationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export function closed(): ReplicationError {
  return new ReplicationError("CLOSED", "the node is closed");
}

export function groupDeleted(id: GroupId): ReplicationError {
  const message = `group ${formatGroupId(id)} was deleted; open it with { recreate: true } to start anew`;
  return new ReplicationError("GROUP_DELETED", message);
}

/** Throws `TypeError` for what cannot be called back. */
export function checkFunction(fn: unknown, method: string): void {
  if (typeof fn !== "function")
    throw new TypeError(`${method} takes a function, not ${fn === null ? "null" : typeof fn}`);
}
