import { type GroupId, encodeDomainPrefixes, encodeGroupId, encodeGroupPrefix } from "@coppice/storage";
import type { GroupView } from "./core/group.ts";
import type { Groups } from "./core/group-directory.ts";
import { lowerBound } from "./lower-bound.ts";
import { checkNames } from "./option-checks.ts";

/** Which groups, and in which order. */
export interface GroupListOptions {
  /** Only those below. */
  readonly prefix?: GroupId;
  /** Only those of these domains. Default: of all. */
  readonly domains?: readonly string[];
  /** Also those that were deleted. Default false. */
  readonly deleted?: boolean;
  /** By key, so that who needs but a page of them can stop there. Default: in no order. */
  readonly sorted?: boolean;
  /** With `sorted`, only those behind this one. */
  readonly after?: GroupId;
}

/** The groups that the options ask for; looked at one by one, as they are taken. */
export function* listGroups(groups: Groups, options: GroupListOptions): Generator<GroupView> {
  checkNames("groups", options, { prefix: true, domains: true, deleted: true, sorted: true, after: true });
  const prefix = options.prefix === undefined ? "" : encodeGroupPrefix(options.prefix);
  const after = options.after === undefined ? "" : encodeGroupId(options.after);
  const ranges = options.domains === undefined ? [prefix] : rangesOf(options.domains, prefix);
  for (const group of options.sorted === true ? sorted(groups, prefix, ranges, after) : groups.views()) {
    const isAskedFor = ranges.some((range) => group.key.startsWith(range));
    if (isAskedFor && (group.phase !== "deleted" || options.deleted === true)) yield group;
  }
}

/** What the keys begin with, one or the other, of the groups of these domains that are below the prefix. */
function rangesOf(domains: readonly string[], prefix: string): readonly string[] {
  const ranges = domains.flatMap(encodeDomainPrefixes).map((range) => (prefix.startsWith(range) ? prefix : range));
  return [...new Set(ranges.filter((range) => range.startsWith(prefix)))];
}

function* sorted(groups: Groups, prefix: string, ranges: readonly string[], after: string): Generator<GroupView> {
  const keys = keysInOrder(groups, prefix);
  for (const range of ranges.toSorted()) {
    const from = after > range ? after : range;
    for (let at = lowerBound(keys, (key) => key <= from); keys[at]?.startsWith(range) === true; at++) {
      const group = groups.view(keys[at] as string);
      if (group !== undefined) yield group;
    }
  }
}

interface KeysInOrder {
  readonly prefix: string;
  /** See `Groups.version`: which groups there were. */
  readonly version: number;
  readonly keys: readonly string[];
}

/** Those that were ordered last, until garbage is collected: who lists page by page asks for the same ones each time. */
const lastInOrder = new WeakMap<Groups, WeakRef<KeysInOrder>>();

/** Of the groups below the prefix, and maybe of others. */
function keysInOrder(groups: Groups, prefix: string): readonly string[] {
  const last = lastInOrder.get(groups)?.deref();
  if (last !== undefined && prefix.startsWith(last.prefix) && last.version === groups.version) return last.keys;
  const { version } = groups;
  const keys: string[] = [];
  for (const key of groups.keys()) if (key.startsWith(prefix)) keys.push(key);
  keys.sort();
  lastInOrder.set(groups, new WeakRef({ prefix, version, keys }));
  return keys;
}
