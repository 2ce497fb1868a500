/** Codes of {@link StorageError}; `docs/errors.md` says what to do about each. */
export type StorageErrorCode =
  /** The operation needs an open backend or store: before `open`, after `close`, or while either runs. */
  | "NOT_OPEN"
  /** Another process (or another backend object of this one) holds the writer lock. */
  | "LOCKED"
  /** The engine failed; `cause` is its error. */
  | "IO"
  /** The disk, or the quota of the user or the browser, is used up. */
  | "FULL"
  /** Options that make no sense; nothing was opened or changed. */
  | "INVALID_OPTIONS"
  /** An adapter that is no storage backend. */
  | "INVALID_ADAPTER"
  /** A domain is open under another configuration. */
  | "IN_USE"
  /** A group is stored already, with other content. */
  | "EXISTS"
  /** A group id outside the documented limits. */
  | "INVALID_GROUP_ID"
  /** Stored bytes that do not pass their check, where nothing could take their place. */
  | "CORRUPT"
  /** Stored bytes that pass their check, of a format that this build or this runtime cannot read. */
  | "UNSUPPORTED_FORMAT"
  /** The caller's signal fired before the operation took effect. */
  | "ABORTED";

/** Every error this package throws on purpose, apart from `TypeError` for programmers' mistakes. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Throws `ABORTED` with the signal's reason as its cause when `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

export function aborted({ reason }: AbortSignal): StorageError {
  return new StorageError("ABORTED", "the operation was aborted", { cause: reason });
}

/** What `decode` makes of something; undefined when that is `CORRUPT`. */
export function orDamaged<Result>(decode: () => Result): Result | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof StorageError && error.code === "CORRUPT") return undefined;
    throw error;
  }
}
