/** Codes of {@link ServerError}; `docs/errors.md` says what to do about each. */
export type ServerErrorCode =
  /** The address to serve HTTP on is taken, or is none of this machine's. */
  | "ADDRESS_IN_USE"
  /** A request body above the limit. */
  | "BODY_TOO_LARGE"
  /** The token does not allow this, or not for this domain. */
  | "FORBIDDEN"
  /** The `Host` header names none of the hosts this server answers for. */
  | "HOST_NOT_ALLOWED"
  /** A defect of the server; its log has the cause. */
  | "INTERNAL"
  /** An operation with arguments that its type refuses; nothing of the batch was applied. */
  | "INVALID_OPERATION"
  /** Settings that make no sense; nothing was started. */
  | "INVALID_OPTIONS"
  /** A request that does not match its schema. */
  | "INVALID_REQUEST"
  /** The loader of a view failed; at a reload, all views keep what they had. */
  | "LOAD_FAILED"
  /** The path is a route, but not with this method. */
  | "METHOD_NOT_ALLOWED"
  /** No such route, peer, token or view. */
  | "NOT_FOUND"
  /** The `Origin` header names no origin that was allowed. */
  | "ORIGIN_NOT_ALLOWED"
  /** Too many requests, messages, watchers, or rejected tokens. */
  | "RATE_LIMITED"
  /** The token that a stream was opened with was revoked, or has expired. */
  | "TOKEN_REVOKED"
  /** No token, or a wrong one. */
  | "UNAUTHORIZED"
  /** The type has no operation of this name. */
  | "UNKNOWN_OPERATION"
  /** HTTP on an address that other machines reach, without having been asked for. */
  | "UNSAFE_BIND"
  /** A mutation whose body is not declared as `application/json`. */
  | "UNSUPPORTED_MEDIA_TYPE"
  /** A view threw, or returned what it must not; the server's log has the cause. */
  | "VIEW_FAILED";

/** Every error this package throws on purpose, apart from `TypeError` for programmers' mistakes. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly code: ServerErrorCode;

  constructor(code: ServerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
