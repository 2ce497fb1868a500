/**
 * What a word is: a run of letters, marks, digits and apostrophes, in lower case, without apostrophes at its ends. Of
 * a run longer than {@link WORD_CHARACTERS_MAX} only the beginning counts, so that no input needs unbounded memory.
 */
const RUN = /[\p{L}\p{M}\p{N}'’]+/gu;
const LEADING_RUN = /^[\p{L}\p{M}\p{N}'’]+/u;
const RUN_CHARACTER = /^[\p{L}\p{M}\p{N}'’]$/u;

/** Longest word, in code points. */
export const WORD_CHARACTERS_MAX = 64;

/** The words of a text, in order. */
export function* words(text: string): Generator<string, void, undefined> {
  for (const [run] of text.matchAll(RUN)) {
    const word = beginningOfRun(run)
      .replaceAll("’", "'")
      .replace(/^'+|'+$/g, "")
      .toLowerCase();
    if (word !== "") yield word;
  }
}

/** As much of a run as can matter. */
export function beginningOfRun(run: string): string {
  // A code point is one or two UTF-16 units: a short run need not be taken apart.
  if (run.length <= WORD_CHARACTERS_MAX) return run;
  return Array.from(run.slice(0, 2 * WORD_CHARACTERS_MAX))
    .slice(0, WORD_CHARACTERS_MAX)
    .join("");
}

/** Where the run ends that `text` begins with; 0 without one. */
export function endOfLeadingRun(text: string): number {
  return LEADING_RUN.exec(text)?.[0].length ?? 0;
}

/** Where the run begins that `text` ends with; its length without one. */
export function startOfTrailingRun(text: string): number {
  let start = text.length;
  while (start > 0) {
    const before = start - (isLowSurrogate(text.charCodeAt(start - 1)) ? 2 : 1);
    if (!RUN_CHARACTER.test(text.slice(Math.max(0, before), start))) break;
    start = before;
  }
  return start;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
