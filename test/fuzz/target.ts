/** A decoder under test, or a machine that takes bytes from others. */
export interface Target {
  /** What it is called on the command line, for example `message` or `state:ormap`. */
  readonly name: string;
  /** Valid inputs to begin with. */
  readonly seeds: readonly Uint8Array[];
  /**
   * Takes one input; whether it was accepted. Refuses with the errors it may throw, all of which it catches itself: what
   * comes out of here, of whatever class, is a finding.
   */
  run(input: Uint8Array): boolean | Promise<boolean>;
  /** Begins anew after a finding: what was under test may be in any state. */
  reset?(): void;
  /** Its part of the inputs: 1, or less when each takes long. */
  readonly share?: number;
  /** Longest input. Default 4 KiB. */
  readonly inputBytesMax?: number;
  /** What an input of no bytes may allocate, and each byte of it, with all that checks it. */
  readonly heap?: { readonly base: number; readonly perByte: number };
  /** How many function calls and blocks an input of no bytes may take, and each byte of it. */
  readonly steps?: { readonly base: number; readonly perByte: number };
}

/** Something that must not be is. */
export class Broken extends Error {
  override readonly name = "Broken";
}

/** Throws `Broken` unless it holds. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Broken(what);
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

/** Throws `Broken` unless the bytes are equal. */
export function mustEqual(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  throw new Broken(`${what}: ${hex(actual).slice(0, 400)} is not ${hex(expected).slice(0, 400)}`);
}

/**
 * What `decode` makes of its input; undefined when it refuses with an error of a class that is documented. Any other
 * error passes through, and is a finding.
 */
export function accept<Result>(decode: () => Result, isTyped: (error: unknown) => boolean): Result | undefined {
  try {
    return decode();
  } catch (error) {
    if (isTyped(error)) return undefined;
    throw error;
  }
}

/** Whether an error has one of these names. Classes are not compared, for the sake of packages that are there twice. */
export function isNamed(...names: readonly string[]): (error: unknown) => boolean {
  return (error) => error instanceof Error && names.includes(error.name);
}

/** Bytes that a decoded value would take if it were written down plainly: each item counts, however often it is met. */
export function weigh(value: unknown, depth = 0): number {
  if (depth > 200) throw new Broken("a value is nested more than 200 levels deep");
  if (typeof value === "string") return 8 + value.length;
  if (typeof value !== "object" || value === null) return 8;
  if (ArrayBuffer.isView(value)) return 16 + value.byteLength;
  let sum = 16;
  if (value instanceof Map) {
    for (const [key, item] of value as Map<unknown, unknown>) sum += weigh(key, depth + 1) + weigh(item, depth + 1);
  } else if (Symbol.iterator in value) {
    for (const item of value as Iterable<unknown>) sum += weigh(item, depth + 1);
  } else {
    for (const [key, item] of Object.entries(value)) sum += 8 + key.length + weigh(item, depth + 1);
  }
  return sum;
}

/** Throws `Broken` when what was decoded is out of proportion to its input. */
export function mustBeBounded(value: unknown, input: Uint8Array, perByte = 64): void {
  const weight = weigh(value);
  must(weight <= 4096 + perByte * input.length, `${input.length} bytes were decoded into ${weight}`);
}

/** Throws `Broken` when an object came out with a prototype that its input chose. */
export function mustBePlain(value: unknown, depth = 0): void {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || value instanceof Date) return;
  must(depth < 200, "a value is nested more than 200 levels deep");
  const prototype: unknown = Object.getPrototypeOf(value);
  must(
    prototype === null || prototype === Object.prototype || prototype === Array.prototype,
    "a value has a prototype that its input chose",
  );
  for (const item of Object.values(value)) mustBePlain(item, depth + 1);
}
