import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";

/** Bytes of a released wire or disk format, by name, as hexadecimal text. */
export type Golden = Record<string, string>;

/**
 * Compares bytes with the golden file `name` beside the tests. `COPPICE_UPDATE_GOLDEN=1` writes it anew: only for a
 * format that no release has had.
 */
export function expectGolden(name: string, actual: Golden): void {
  const file = new URL(`golden/${name}.json`, import.meta.url);
  if (process.env["COPPICE_UPDATE_GOLDEN"] === "1") writeFileSync(file, `${JSON.stringify(actual, undefined, 2)}\n`);
  expect(actual).toEqual(JSON.parse(readFileSync(file, "utf8")));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
