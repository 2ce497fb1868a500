import { describe, expect, it } from "vitest";
import type { Op, StorageBackend } from "./backend.ts";
import { memoryStorage } from "./memory.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";
import { writeBehind, type WriteBehindOptions } from "./write-behind.ts";

const put = (key: string, value: number): Op => ({ op: "put", key, value: Uint8Array.of(value) });
const append = (seq: number, value: number): Op => ({ op: "append", log: "l", seq, value: Uint8Array.of(value) });

/** A backend that takes only so many operations at once. */
function small(backend: StorageBackend, atomicOpsMax: number): StorageBackend {
  return Object.assign(backend, { capabilities: { ...backend.capabilities, atomicOpsMax } });
}

describe("writeBehind", () => {
  it("tells invalid options from what is no backend", () => {
    const bad: unknown[] = [null, 5, { autoSave: 1 }, { autoSaveMs: 0 }, { autoSaveMs: "often" }, { onError: 1 }];
    for (const options of bad) {
      const make = (): unknown => writeBehind(memoryStorage(), options as WriteBehindOptions);
      expect(make).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    }
    for (const backend of [undefined, {}, "level:./data"]) {
      expect(() => writeBehind(backend as never)).toThrow(expect.objectContaining({ code: "INVALID_ADAPTER" }));
    }
  });

  it("saves nothing and reports nothing once it is closed, also when a save has failed before", async () => {
    const disk = new SimulatedDisk();
    const errors: Error[] = [];
    const timers = new Set<() => void>();
    const schedule = (task: () => void): (() => void) => {
      timers.add(task);
      return () => timers.delete(task);
    };
    const backend = writeBehind(disk.backend(), { onError: (error) => errors.push(error), schedule });
    await backend.open();
    await backend.write([put("a", 1)]);
    let failures = 1;
    disk.faults.fail = (operation) => (operation === "write" && failures-- > 0 ? new Error("broken") : undefined);
    const [save] = timers;
    timers.clear();
    save?.();
    await backend.close();
    expect(errors).toMatchObject([{ code: "IO" }]);
    expect(timers.size).toBe(0);
    expect(disk.contents.get("a")).toEqual(Uint8Array.of(1));
  });

  it("loses what a close could not save, and mixes none of it with what is written later", async () => {
    const disk = new SimulatedDisk();
    const backend = writeBehind(disk.backend(), { autoSaveMs: "never" });
    await backend.open();
    await backend.write([put("a", 1), append(0, 1)], { sync: true });
    await backend.write([put("a", 2), put("b", 2), append(1, 2)]);
    disk.faults.fail = (operation) => (operation === "write" ? new Error("broken") : undefined);
    await expect(backend.close()).rejects.toMatchObject({ code: "IO" });
    disk.faults.fail = undefined;
    await backend.open();
    expect(await backend.getMany(["a", "b"])).toEqual([Uint8Array.of(1), undefined]);
    await backend.write([put("c", 3)], { sync: true });
    const logs = [...disk.contents.listLogs("")].flat();
    expect([disk.contents.get("a"), disk.contents.get("b"), logs]).toEqual([
      Uint8Array.of(1),
      undefined,
      [{ log: "l", first: 0, last: 0 }],
    ]);
    await backend.close();
  });

  it("saves before it has more than the backend takes at once", async () => {
    const disk = new SimulatedDisk();
    await using backend = writeBehind(small(disk.backend(), 10), { autoSaveMs: "never" });
    await backend.open();
    const writes = Array.from({ length: 100 }, (_, seq) => backend.write([put(`k${seq}`, seq), append(seq, seq)]));
    await Promise.all(writes);
    await backend.flush();
    expect(disk.history.every(({ ops }) => ops.length <= 10)).toBe(true);
    expect([...disk.contents.listLogs("")].flat()).toEqual([{ log: "l", first: 0, last: 99 }]);
  });
});
