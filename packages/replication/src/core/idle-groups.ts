import type { Group } from "./group.ts";

/** What a loaded group takes in memory beside what it takes in storage: its engine, its vector, its tables. */
const GROUP_BYTES = 2048;

/** When an unused group is unloaded. */
export interface IdleLimits {
  /** Unused for this long, in milliseconds, it goes in any case. */
  readonly graceMs: number;
  /** Above this many bytes of unused groups, about, the longest unused go earlier. */
  readonly bytesMax: number;
}

/** The loaded groups that should be unloaded now, the longest unused first. Notes the use of those that are open. */
export function idleGroups(
  active: Iterable<Group>,
  now: number,
  { graceMs, bytesMax }: IdleLimits,
  canUnload: (group: Group) => boolean,
): Group[] {
  const idle: Group[] = [];
  let bytes = 0;
  for (const group of active) {
    if (group.handles > 0 || group.watchers > 0) {
      group.usedAt = now;
    } else if (canUnload(group)) {
      idle.push(group);
      bytes += bytesOf(group);
    }
  }
  idle.sort((a, b) => a.usedAt - b.usedAt);
  const over = idle.findIndex((group) => {
    if (now - group.usedAt < graceMs && bytes <= bytesMax) return true;
    bytes -= bytesOf(group);
    return false;
  });
  return over < 0 ? idle : idle.slice(0, over);
}

function bytesOf({ snapshotBytes, journalBytes, server }: Group): number {
  return GROUP_BYTES + snapshotBytes + journalBytes + (server?.tailBytes ?? 0);
}
