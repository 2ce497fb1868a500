import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { hex } from "./target.ts";

/** What the repository keeps for a target: inputs that reach rare code, and inputs that once broke it. */
export interface Kept {
  readonly corpus: readonly Uint8Array[];
  readonly regressions: readonly Uint8Array[];
}

interface File {
  readonly corpus: readonly string[];
  readonly regressions?: readonly { readonly input: string; readonly was: string }[];
}

// From `dist/fuzz`, where this runs.
const folder = new URL("../../fuzz/corpus/", import.meta.url);

function fileOf(target: string): URL {
  return new URL(`${target.replaceAll(":", "-")}.json`, folder);
}

function read(target: string): File {
  const file = fileOf(target);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as File) : { corpus: [] };
}

export function readKept(target: string): Kept {
  const { corpus, regressions = [] } = read(target);
  return { corpus: corpus.map(bytes), regressions: regressions.map(({ input }) => bytes(input)) };
}

/** Replaces the corpus of a target; its regressions stay. */
export function writeCorpus(target: string, corpus: readonly Uint8Array[]): void {
  const { regressions } = read(target);
  if (corpus.length === 0 && regressions === undefined) return;
  mkdirSync(folder, { recursive: true });
  const file: File = { corpus: corpus.map(hex), ...(regressions !== undefined && { regressions }) };
  writeFileSync(fileOf(target), `${JSON.stringify(file, undefined, 2)}\n`);
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}
