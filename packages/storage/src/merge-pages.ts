/** Merges pages that are each ordered by `keyOf` into pages in that order over all. */
export async function* mergePages<Item>(
  sources: readonly AsyncIterable<readonly Item[]>[],
  keyOf: (item: Item) => string,
): AsyncGenerator<readonly Item[]> {
  const heads: Head<Item>[] = [];
  try {
    for (const source of sources) {
      const head = { pages: source[Symbol.asyncIterator](), items: [], at: 0 };
      heads.push(head);
      await refill(head);
    }
    for (;;) {
      const live = heads.filter((head) => head.at < head.items.length);
      const [only] = live;
      if (only === undefined) return;
      const page = live.length === 1 ? only.items.slice(only.at) : mergeUntilEmpty(live, keyOf);
      if (live.length === 1) only.at = only.items.length;
      yield page;
      for (const head of heads) await refill(head);
    }
  } finally {
    for (const head of heads) await head.pages.return?.();
  }
}

interface Head<Item> {
  readonly pages: AsyncIterator<readonly Item[]>;
  items: readonly Item[];
  at: number;
}

async function refill<Item>(head: Head<Item>): Promise<void> {
  if (head.at < head.items.length) return;
  const next = await head.pages.next();
  head.items = next.done === true ? [] : next.value;
  head.at = 0;
}

/** Takes the smallest item again and again, until one of the pages is used up. */
function mergeUntilEmpty<Item>(heads: readonly Head<Item>[], keyOf: (item: Item) => string): Item[] {
  const merged: Item[] = [];
  for (;;) {
    let smallest: { head: Head<Item>; item: Item; key: string } | undefined;
    for (const head of heads) {
      const item = head.items[head.at];
      if (item === undefined) return merged;
      const key = keyOf(item);
      if (smallest === undefined || key < smallest.key) smallest = { head, item, key };
    }
    if (smallest === undefined) return merged;
    merged.push(smallest.item);
    smallest.head.at++;
  }
}
