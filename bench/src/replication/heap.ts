import { type Node, createNode, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { inDirectory } from "./directory.ts";

const OPEN = 16_000;
const IDLE = 10_000;
const KEYS = ["name", "state", "owner", "since"];

function idOf(index: number): [string, string] {
  return ["bench", `group-${String(index).padStart(6, "0")}`];
}

/** Bytes in use after everything that can go is gone. */
export async function heapBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    // Last: a tick of the clock goes through all loaded groups, and leaves garbage.
    globalThis.gc?.();
  }
  const { heapUsed, external } = process.memoryUsage();
  // Array buffers are part of what is external.
  return heapUsed + external;
}

/** What the process needs once, such as compiled code, must not count. */
async function warmUp(): Promise<void> {
  await using node = await createNode({ types: [lwwMap()] });
  await openGroups(node);
}

/** Opens groups of four keys each. */
async function openGroups(node: Node): Promise<object[]> {
  const kept: object[] = [];
  for (let index = 0; index < OPEN; index++) {
    const replica = await node.open(idOf(index), lwwMap<string>());
    replica.mutate((map) => KEYS.forEach((key) => map.set(key, "value678")));
    kept.push(replica);
  }
  return kept;
}

/** Heap bytes of a group of four keys with one replica open, in memory. */
export async function heapOfOpenGroups(): Promise<number> {
  await warmUp();
  await using node = await createNode({ types: [lwwMap()] });
  const before = await heapBytes();
  const kept = await openGroups(node);
  const after = await heapBytes();
  return (after - before) / kept.length;
}

/** Heap bytes of a group that is stored and known, but not loaded. */
export async function heapOfIdleGroups(): Promise<number> {
  return await inDirectory(async (path) => {
    const writer = await createNode({ types: [lwwMap()], storage: levelStorage(path) });
    for (let index = 0; index < IDLE; index++) {
      const replica = await writer.open(idOf(index), lwwMap<string>());
      replica.mutate((map) => KEYS.forEach((key) => map.set(key, "value678")));
      replica.close();
    }
    await writer.close();
    // What reading the catalogue costs once, whatever its size.
    const before = await heapBytes();
    await using node = await createNode({ types: [lwwMap()], storage: levelStorage(path) });
    const after = await heapBytes();
    if ([...node.groups()].some(({ phase }) => phase !== "stored")) throw new Error("a group was loaded");
    return (after - before) / IDLE;
  });
}

/** Heap bytes of a string in a set: the least that knowing a group by its id costs. */
export async function heapOfIds(): Promise<number> {
  const before = await heapBytes();
  const ids = new Set<string>();
  for (let index = 0; index < IDLE; index++) ids.add(Buffer.from(idOf(index).join("/")).toString());
  return ((await heapBytes()) - before) / ids.size;
}

/** Heap bytes of the same four keys in a `Map` of a `Map`. */
export async function heapOfMaps(): Promise<number> {
  const before = await heapBytes();
  const groups = new Map<string, Map<string, string>>();
  for (let index = 0; index < OPEN; index++) {
    groups.set(Buffer.from(idOf(index).join("/")).toString(), new Map(KEYS.map((key) => [key, "value678"])));
  }
  return ((await heapBytes()) - before) / groups.size;
}
