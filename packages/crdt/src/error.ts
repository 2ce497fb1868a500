/** Codes of {@link CrdtError}; `docs/errors.md` says what to do about each. */
export type CrdtErrorCode =
  /** Bytes that are not what their format says: truncated, over a limit, or out of range. */
  | "MALFORMED"
  /** Bytes of a format version that this build does not know. */
  | "UNSUPPORTED_VERSION"
  /** A value, key or sequence number over its documented limit. */
  | "LIMIT_EXCEEDED"
  /** A value that the schema of its field refuses; the cause holds the issues. */
  | "INVALID_VALUE"
  /** A bounded counter's actor has fewer rights than it wants to spend or to hand over. */
  | "INSUFFICIENT_RIGHTS";

/** Every error this package throws on purpose, apart from `TypeError` and `RangeError` for programmers' mistakes. */
export class CrdtError extends Error {
  override readonly name = "CrdtError";
  readonly code: CrdtErrorCode;

  constructor(code: CrdtErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
