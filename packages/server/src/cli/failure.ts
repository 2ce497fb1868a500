import { fileTrouble } from "../file-trouble.ts";

/** What the command's exit status says; `docs/cli.md` lists them. */
export const EXIT = {
  ok: 0,
  /** Anything without a status of its own. */
  failed: 1,
  /** Arguments, options or settings that make no sense. */
  usage: 2,
  /** No node answers. */
  unreachable: 3,
  /** The node refuses the token, the host or the operation. */
  refused: 4,
  /** No such group, peer or view. */
  notFound: 5,
  /** The group has another type or was deleted; the data directory or the port is taken. */
  conflict: 6,
  /** Applied, but not acknowledged as asked. Repeating it would apply it twice. */
  unacknowledged: 7,
  /** The node, its storage or its peers cannot do it now. */
  unavailable: 8,
  /** Interrupted: the shell's convention for SIGINT. */
  interrupted: 130,
} as const;

/** An error to be shown as one line, with its exit status. */
export class CliError extends Error {
  override name = "CliError";
  readonly status: number;
  /** The library's code, for `--json`. */
  readonly code: string;

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.code = code;
  }
}

const CODES: ReadonlyMap<string, number> = new Map([
  ["BAD_ADDRESS", EXIT.usage],
  ["INVALID_GROUP_ID", EXIT.usage],
  ["INVALID_OPERATION", EXIT.usage],
  ["INVALID_OPTIONS", EXIT.usage],
  ["INVALID_REQUEST", EXIT.usage],
  ["INVALID_VALUE", EXIT.usage],
  ["UNKNOWN_OPERATION", EXIT.usage],
  ["UNKNOWN_TYPE", EXIT.usage],
  ["UNSAFE_BIND", EXIT.usage],
  ["ACK_UNAVAILABLE", EXIT.usage],
  ["FORBIDDEN", EXIT.refused],
  ["HOST_NOT_ALLOWED", EXIT.refused],
  ["ORIGIN_NOT_ALLOWED", EXIT.refused],
  ["TOKEN_REVOKED", EXIT.refused],
  ["UNAUTHORIZED", EXIT.refused],
  ["NOT_FOUND", EXIT.notFound],
  ["UNKNOWN_GROUP", EXIT.notFound],
  ["ADDRESS_IN_USE", EXIT.conflict],
  ["GROUP_DELETED", EXIT.conflict],
  ["EXISTS", EXIT.conflict],
  ["INSUFFICIENT_RIGHTS", EXIT.conflict],
  ["IN_USE", EXIT.conflict],
  ["LOCKED", EXIT.conflict],
  ["NO_MEMBERSHIP", EXIT.conflict],
  ["TYPE_CONFLICT", EXIT.conflict],
  ["APPLIED_NOT_DURABLE", EXIT.unacknowledged],
  ["CLOCK_SKEW", EXIT.unavailable],
  ["CLOSED", EXIT.unavailable],
  ["CORRUPT", EXIT.unavailable],
  ["DIAL_FAILED", EXIT.unavailable],
  ["FULL", EXIT.unavailable],
  ["GROUP_DEGRADED", EXIT.unavailable],
  ["IO", EXIT.unavailable],
  ["NOT_ADMITTED", EXIT.unavailable],
  ["NOT_OPEN", EXIT.unavailable],
  ["OUT_OF_REACH", EXIT.unavailable],
  ["RATE_LIMITED", EXIT.unavailable],
  ["STORAGE_FAILED", EXIT.unavailable],
  ["TIMEOUT", EXIT.unavailable],
]);

/** The exit status of one of the library's codes. */
export function exitStatus(code: string): number {
  return CODES.get(code) ?? EXIT.failed;
}

/** The status of what the file system refuses; the rest are paths that the user got wrong. */
const FILE_STATUS: ReadonlyMap<string, number> = new Map([
  ["EACCES", EXIT.refused],
  ["ENOSPC", EXIT.unavailable],
  ["EPERM", EXIT.refused],
  ["EROFS", EXIT.refused],
]);

function fileFailure(cause: NodeJS.ErrnoException): CliError {
  const { code = "IO", path = "" } = cause;
  return new CliError(FILE_STATUS.get(code) ?? EXIT.usage, code, `${path} ${fileTrouble(cause)}`, { cause });
}

/** Any error as one that can be shown. An error without a code is a defect and keeps its stack. */
export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof Error && "syscall" in error && "path" in error)
    return fileFailure(error as NodeJS.ErrnoException);
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    return new CliError(exitStatus(error.code), error.code, error.message, { cause: error });
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CliError(EXIT.failed, "INTERNAL", `unexpected: ${text}`, { cause: error });
}
