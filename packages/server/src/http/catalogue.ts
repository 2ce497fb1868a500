import type { GroupStatus } from "@coppice/replication";
import { formatGroupId } from "@coppice/storage";

/** What a list of groups can be ordered by. */
export const SORTS = ["id", "type", "events", "stored", "snapshot", "lag"] as const;
export type Sort = (typeof SORTS)[number];

export interface CatalogueQuery {
  /** A part of the id, or of the type's name; upper and lower case are the same. */
  readonly search: string;
  readonly sort: Sort;
  readonly isDescending: boolean;
  readonly offset: number;
  readonly limit: number;
}

export interface CataloguePage {
  /** How many there are, on all pages. */
  readonly total: number;
  readonly groups: readonly GroupStatus[];
}

type Order = (left: GroupStatus, right: GroupStatus) => number;

const byKey: Order = (left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0);

const ORDERS: { readonly [Name in Sort]: Order } = {
  id: byKey,
  type: (left, right) => (left.type < right.type ? -1 : left.type > right.type ? 1 : 0),
  events: (left, right) => left.events - right.events,
  stored: (left, right) => stored(left) - stored(right),
  snapshot: (left, right) => left.snapshotAt - right.snapshotAt,
  lag: (left, right) => left.lagEvents - right.lagEvents,
};

function stored({ snapshotBytes, journalBytes }: GroupStatus): number {
  return snapshotBytes + journalBytes;
}

/** One page of the living groups that match; what is equal is in order of the ids. */
export function listCatalogue(groups: Iterable<GroupStatus>, query: CatalogueQuery): CataloguePage {
  const search = query.search.toLowerCase();
  const found: GroupStatus[] = [];
  for (const group of groups) if (group.phase !== "deleted" && matches(group, search)) found.push(group);
  const order = ORDERS[query.sort];
  const sign = query.isDescending ? -1 : 1;
  found.sort((left, right) => sign * order(left, right) || byKey(left, right));
  return { total: found.length, groups: found.slice(query.offset, query.offset + query.limit) };
}

function matches({ id, type }: GroupStatus, search: string): boolean {
  return search === "" || formatGroupId(id).toLowerCase().includes(search) || type.toLowerCase().includes(search);
}
