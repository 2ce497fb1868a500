import { type GroupId, encodeGroupId, encodeGroupPrefix } from "@coppice/storage";
import type { GroupView } from "./core/group.ts";
import type { Groups } from "./core/group-directory.ts";
import { checkNames } from "./option-checks.ts";

/** Which groups, and in which order. */
export interface GroupListOptions {
  /** Only those below. */
  readonly prefix?: GroupId;
  /** Also those that were deleted. Default false. */
  readonly deleted?: boolean;
  /** By key, so that who needs but a page of them can stop there. Default: in no order. */
  readonly sorted?: boolean;
  /** With `sorted`, only those behind this one. */
  readonly after?: GroupId;
}

/** The groups that the options ask for; looked at one by one, as they are taken. */
export function* listGroups(groups: Groups, options: GroupListOptions): Generator<GroupView> {
  checkNames("groups", options, { prefix: true, deleted: true, sorted: true, after: true });
  const prefix = options.prefix === undefined ? "" : encodeGroupPrefix(options.prefix);
  const after = options.after === undefined ? "" : encodeGroupId(options.after);
  for (const group of options.sorted === true ? sorted(groups, prefix, after) : groups.views()) {
    if (group.key.startsWith(prefix) && (group.phase !== "deleted" || options.deleted === true)) yield group;
  }
}

function* sorted(groups: Groups, prefix: string, after: string): Generator<GroupView> {
  const keys: string[] = [];
  for (const key of groups.keys()) if (key > after && key.startsWith(prefix)) keys.push(key);
  for (const key of keys.sort()) {
    const group = groups.view(key);
    if (group !== undefined) yield group;
  }
}
