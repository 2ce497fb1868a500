import type { Op } from "@coppice/storage";
import type { SimulatedDisk } from "@coppice/storage/testing";
import { Guarantees } from "./guarantees.ts";

/** Spaces of keys in which a group store keeps what belongs to one group. */
const SPACES = ["c", "b", "s", "x"];

/** A copy of a disk, on which everything of one group is as an older image has it: a backup of one group was restored. */
export function withGroupOf(disk: SimulatedDisk, image: SimulatedDisk, group: string): SimulatedDisk {
  const copy = disk.clone();
  const ops: Op[] = [];
  for (const { key } of valuesOf(copy, group)) ops.push({ op: "del", key });
  for (const { log, first, last } of logsOf(copy, group))
    ops.push({ op: "truncate", log, from: first, upto: last + 1 });
  for (const { key, value } of valuesOf(image, group)) ops.push({ op: "put", key, value });
  for (const { log } of logsOf(image, group)) {
    for (const page of image.contents.readLog(log, 0)) {
      for (const { seq, value } of page) ops.push({ op: "append", log, seq, value });
    }
  }
  // As the page on storage asks of whoever does that by hand.
  ops.push({ op: "del", key: "j" });
  copy.write(ops, true);
  return copy;
}

/** What such a disk still promises. */
export function guaranteesWithGroupOf(now: Guarantees, then: Guarantees, group: string): Guarantees {
  const written = new Map(now.written);
  const older = then.written.get(group);
  if (older === undefined) written.delete(group);
  else written.set(group, older);
  return new Guarantees(written, new Map(written));
}

function valuesOf(disk: SimulatedDisk, group: string): { readonly key: string; readonly value: Uint8Array }[] {
  return SPACES.flatMap((space) => {
    const range = { prefix: space + group, after: undefined, limit: Number.MAX_SAFE_INTEGER, values: true };
    return [...disk.contents.scan(range)].flat();
  });
}

function logsOf(
  disk: SimulatedDisk,
  group: string,
): { readonly log: string; readonly first: number; readonly last: number }[] {
  return [...disk.contents.listLogs(group)].flat();
}
