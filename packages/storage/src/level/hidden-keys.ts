import type { Database } from "./level-database.ts";

/**
 * Looks again for the `keys` that a lookup did not find, and puts what it finds into `values`. LevelDB looks keys up by
 * way of filters that have no checksum: one rotten byte there hides keys, which an iterator still finds.
 */
export async function findHidden(
  database: Database,
  keys: readonly string[],
  values: (Uint8Array | undefined)[],
): Promise<void> {
  const iterator = database.iterator();
  try {
    for (const [index, key] of keys.entries()) {
      if (values[index] !== undefined) continue;
      iterator.seek(key);
      const [entry] = await iterator.nextv(1);
      if (entry?.[0] === key) values[index] = entry[1];
    }
  } finally {
    await iterator.close();
  }
}
