import { ReplicationError } from "./error.ts";

/** Every option of a kind, so that a misspelt one is not ignored. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>;

/** Of what takes nothing but a signal. */
export interface SignalOptions {
  readonly signal?: AbortSignal;
}

/** Refuses what is no record of options, and one with a misspelt name. Throws `INVALID_OPTIONS`. */
export function checkNames(owner: string, given: unknown, known: object): void {
  if (typeof given !== "object" || given === null) throw invalid(`the options of ${owner} must be an object`);
  const stray = Object.keys(given).find((name) => !Object.hasOwn(known, name));
  if (stray !== undefined) throw invalid(`${owner} has no option ${stray}; there are ${Object.keys(known).join(", ")}`);
}

/** The signal of what takes nothing else. Throws `INVALID_OPTIONS`. */
export function checkSignal(owner: string, options: SignalOptions): AbortSignal | undefined {
  checkNames(owner, options, { signal: true });
  return options.signal;
}

/** Throws `INVALID_OPTIONS`. */
export function checkStrings(name: string, value: readonly string[]): readonly string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw invalid(`${name} must be a list of strings`);
}

export function invalid(message: string): ReplicationError {
  return new ReplicationError("INVALID_OPTIONS", message);
}
