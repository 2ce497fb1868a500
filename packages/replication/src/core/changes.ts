/** Where a change came from. */
export type Origin = "local" | "remote";

/** Top-level keys that changed, by origin, since the watchers were last told. */
export type Changes = ReadonlyMap<Origin, ReadonlySet<string>>;

/** The keys of one origin, to be added to. */
export function keysOf(changes: Map<Origin, Set<string>>, origin: Origin): Set<string> {
  let keys = changes.get(origin);
  if (keys === undefined) changes.set(origin, (keys = new Set()));
  return keys;
}
