import type { Count, CountedGroup } from "./census.ts";

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
  readonly groups: readonly CountedGroup[];
}

/** Sorted once a count, however many pages are turned. */
const sorted = new WeakMap<Count, Map<Sort, readonly CountedGroup[]>>();

/** One page of the groups that match; what is equal is in order of the ids, or in the reverse order. */
export function listCatalogue(count: Count, query: CatalogueQuery): CataloguePage {
  const { isDescending, offset, limit } = query;
  const search = query.search.toLowerCase();
  const all = inOrder(count, query.sort);
  const found = search === "" ? all : all.filter(({ text }) => text.includes(search));
  const total = found.length;
  if (!isDescending) return { total, groups: found.slice(offset, offset + limit) };
  const end = Math.max(0, total - offset);
  return { total, groups: found.slice(Math.max(0, end - limit), end).toReversed() };
}

function inOrder(count: Count, sort: Sort): readonly CountedGroup[] {
  const orders = sorted.get(count) ?? new Map<Sort, readonly CountedGroup[]>();
  sorted.set(count, orders);
  let order = orders.get(sort);
  if (order === undefined) {
    order = count.groups.toSorted((left, right) => compare(left, right, sort) || compare(left, right, "id"));
    orders.set(sort, order);
  }
  return order;
}

function compare(left: CountedGroup, right: CountedGroup, sort: Sort): number {
  const name = sort === "id" ? "key" : sort;
  const [a, b] = [left[name], right[name]];
  return a < b ? -1 : a > b ? 1 : 0;
}
