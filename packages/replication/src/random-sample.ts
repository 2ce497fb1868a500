/** Up to `count` different items, chosen at random. Throws `TypeError` for what is no number of items. */
export function randomSample<Item>(items: Iterable<Item>, count: number): Item[] {
  if (!Number.isSafeInteger(count) || count < 0) throw new TypeError(`not a whole number of at least 0: ${count}`);
  const shuffled = [...items];
  for (let index = shuffled.length - 1; index > 0; index--) {
    const other = Math.floor(Math.random() * (index + 1));
    [shuffled[index], shuffled[other]] = [shuffled[other] as Item, shuffled[index] as Item];
  }
  return shuffled.slice(0, count);
}
