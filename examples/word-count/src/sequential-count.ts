import { createReadStream } from "node:fs";
import type { Input } from "./input.ts";
import { beginningOfRun, startOfTrailingRun, words } from "./words.ts";

/** How often each word stands in the input. */
export interface SequentialCount {
  readonly counts: ReadonlyMap<string, number>;
  readonly total: number;
}

/** Counts an input, reporting how many bytes of it are done. */
export type CountInput = (input: Input, onProgress?: (bytes: number) => void) => Promise<SequentialCount>;

/**
 * Counts the words of an input in one process, file by file from beginning to end: what the replicated count is
 * compared with. It knows nothing of chunks, shares, groups or Coppice.
 */
export const countSequentially: CountInput = async (input, onProgress) => {
  const counts = new Map<string, number>();
  let total = 0;
  let bytes = 0;
  for (const file of input.files) {
    let unfinished = "";
    const count = (text: string): void => {
      for (const word of words(text)) {
        counts.set(word, (counts.get(word) ?? 0) + 1);
        total++;
      }
    };
    for await (const text of createReadStream(file.path, { encoding: "utf8", highWaterMark: 1 << 16 })) {
      const known = unfinished + (text as string);
      const start = startOfTrailingRun(known);
      count(known.slice(0, start));
      unfinished = beginningOfRun(known.slice(start));
      bytes += Buffer.byteLength(text as string);
      onProgress?.(Math.min(bytes, input.bytes));
    }
    count(unfinished);
  }
  return { counts, total };
};
