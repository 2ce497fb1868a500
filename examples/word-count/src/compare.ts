/** A count that is not what it should be. */
export interface Difference {
  readonly word: string;
  readonly expected: number;
  readonly actual: number;
}

/** Every word that is counted differently, words that stand in only one of the two included. */
export function differences(
  expected: ReadonlyMap<string, number>,
  actual: ReadonlyMap<string, number>,
): readonly Difference[] {
  const found: Difference[] = [];
  for (const [word, count] of expected) {
    const other = actual.get(word) ?? 0;
    if (other !== count) found.push({ word, expected: count, actual: other });
  }
  for (const [word, count] of actual) if (!expected.has(word)) found.push({ word, expected: 0, actual: count });
  return found;
}

/** The first few differences in words. */
export function describeDifferences(found: readonly Difference[], shownMax = 10): string {
  const lines = found
    .slice(0, shownMax)
    .map(({ word, expected, actual }) => `  ${JSON.stringify(word)}: ${actual} instead of ${expected}`);
  if (found.length > shownMax) lines.push(`  ... and ${found.length - shownMax} more words`);
  return lines.join("\n");
}
