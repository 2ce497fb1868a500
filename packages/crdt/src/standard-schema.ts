import { CrdtError } from "./error.ts";

/** A part of a value that a schema refuses. */
export interface StandardIssue {
  readonly message: string;
  /** The way to the part: keys, or objects that hold one. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema makes of a value. */
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

/**
 * A schema of any library that implements Standard Schema, version 1 (https://standardschema.dev): zod, valibot,
 * arktype and others. Only synchronous ones can be used here.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** Whether something is a schema of Standard Schema, version 1: an object, or a function as of arktype. */
export function isStandardSchema(candidate: unknown): candidate is StandardSchema {
  if ((typeof candidate !== "object" && typeof candidate !== "function") || candidate === null) return false;
  const standard: unknown = (candidate as Partial<StandardSchema>)["~standard"];
  return typeof standard === "object" && standard !== null && (standard as { version?: unknown }).version === 1;
}

/**
 * The value as the schema puts it out: with its defaults and transformations. Throws `CrdtError` `INVALID_VALUE` with
 * the issues as its cause, and `TypeError` for a schema that answers with a promise.
 */
export function validate<Output>(schema: StandardSchema<unknown, Output>, value: unknown): Output {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) {
    result.catch(() => undefined);
    throw new TypeError("a schema that validates asynchronously cannot be used: mutate() is synchronous");
  }
  if (result.issues === undefined) return result.value;
  throw new CrdtError("INVALID_VALUE", result.issues.map(describe).join("; ") || "the schema refuses the value", {
    cause: result.issues,
  });
}

function describe({ message, path = [] }: StandardIssue): string {
  const steps = path.map((step) => `.${String(typeof step === "object" ? step.key : step)}`);
  return steps.length === 0 ? message : `${message} (at ${steps.join("")})`;
}
