import { StorageError } from "./error.ts";

/** Throws `INVALID_OPTIONS` for what is no object, and for a name that nothing reads: it may be a mistyped one. */
export function checkOptions(owner: string, options: object, names: readonly string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new StorageError("INVALID_OPTIONS", `the options of ${owner} are an object`);
  }
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new StorageError("INVALID_OPTIONS", `${owner} has no option ${JSON.stringify(unknown)}`);
  }
}

/** Throws `INVALID_OPTIONS` for what is given and no function. */
export function checkFunctions(options: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || typeof value === "function") continue;
    throw new StorageError("INVALID_OPTIONS", `${name} must be a function, not ${typeof value}`);
  }
}
