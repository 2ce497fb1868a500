/** The first place in `items` from which on `isBefore` does not hold; it must hold for all before that. */
export function lowerBound<Item>(items: ArrayLike<Item>, isBefore: (item: Item) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(items[middle] as Item)) low = middle + 1;
    else high = middle;
  }
  return low;
}
