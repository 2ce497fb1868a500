import type { Figure } from "./figure.ts";
import { Worker } from "./worker.ts";

/** Heap a group, each measured in a process of its own; heaps do not vary enough to need rounds. */
export async function memory(): Promise<Figure[]> {
  const measure = async (command: string): Promise<number> => {
    using worker = new Worker();
    return await worker.ask<number>(command);
  };
  const open = await measure("heapOfOpenGroups");
  const idle = await measure("heapOfIdleGroups");
  return [
    {
      name: "heap of an open group of four keys",
      measures: "replica in memory",
      value: open,
      unit: "B",
      raw: { name: "B Map in a Map", value: await measure("heapOfMaps") },
      goal: { text: "<= 2 KiB", isMet: open <= 2048 },
    },
    {
      name: "heap of an idle group (stored, not opened)",
      measures: "mode log",
      value: idle,
      unit: "B",
      raw: { name: "B its id in a Set", value: await measure("heapOfIds") },
      goal: { text: "<= 200 B", isMet: idle <= 200 },
    },
  ];
}
