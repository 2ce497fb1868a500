import { ReplicationError } from "./error.ts";

/** Refuses what is no record of options, and a misspelt one, which would be ignored. Throws `INVALID_OPTIONS`. */
export function checkNames(place: string, given: unknown, known: object): void {
  if (typeof given !== "object" || given === null) throw invalid(`${place} must be an object`);
  const stray = Object.keys(given).find((name) => !Object.hasOwn(known, name));
  if (stray !== undefined) throw invalid(`${place} has no ${stray}; there are ${Object.keys(known).join(", ")}`);
}

/** Throws `INVALID_OPTIONS`. */
export function checkStrings(name: string, value: readonly string[]): readonly string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw invalid(`${name} must be a list of strings`);
}

export function invalid(message: string): ReplicationError {
  return new ReplicationError("INVALID_OPTIONS", message);
}
