/** Longest text that is compared: beyond it a typo is no longer what went wrong. */
const LENGTH_MAX = 100;

/**
 * ` Did you mean "…"?` for the candidate that is only a typo away from `name`, otherwise the empty text. In a name of one
 * letter there is no typo, and one of up to three begins as what was meant.
 */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    if (name.length > LENGTH_MAX || candidate.length > LENGTH_MAX) continue;
    if (name.length < 2 || (name.length <= 3 && candidate[0] !== name[0])) continue;
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best === undefined ? "" : ` Did you mean "${best}"?`;
}

/** Optimal string alignment: insertions, deletions, replacements, and swaps of neighbours, each counted once. */
function editDistance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1];
      let distance = Math.min(at(last, column) + 1, at(current, column - 1) + 1, at(last, column - 1) + (same ? 0 : 1));
      if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]) {
        distance = Math.min(distance, at(beforeLast, column - 2) + 1);
      }
      current.push(distance);
    }
    beforeLast = last;
    last = current;
  }
  return at(last, right.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
