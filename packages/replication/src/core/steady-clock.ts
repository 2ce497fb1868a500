/**
 * A clock for intervals, made of a wall clock: when that is set back, this one stands still for a moment and goes on
 * from there, so that nothing waits until the old time comes again.
 */
export function steadyClock(wall: () => number): () => number {
  let last = Number.NEGATIVE_INFINITY;
  let offset = 0;
  return () => {
    const now = wall();
    if (now + offset < last) offset = last - now;
    last = now + offset;
    return last;
  };
}
