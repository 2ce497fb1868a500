import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GroupStorage } from "./group-storage.ts";
import { collect, meta, openStore, record, snapshot } from "./group-store.test-support.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";

/** What a history does: one letter for each step. */
type Step = "append" | "snapshot" | "both" | "sync" | "delete" | "create" | "restart" | "other";

/** What must be found after a power cut: at least `synced` events of `epoch`, at most `written`. */
interface Expectation {
  readonly epoch: number;
  readonly synced: number;
  readonly syncedEpoch: number;
  readonly written: number;
}

const G = "g";

interface Run {
  readonly disk: SimulatedDisk;
  /** By number of writes in the disk's history. */
  readonly expectations: Expectation[];
}

async function run(steps: readonly Step[], sync: boolean): Promise<Run> {
  const disk = new SimulatedDisk();
  let { store } = await openStore(disk.backend());
  const expectations: Expectation[] = [];
  let now: Expectation = { epoch: 0, synced: 0, syncedEpoch: 0, written: 0 };
  const note = (next: Partial<Expectation>): void => {
    // A write that is cut before it is acknowledged may be there or not.
    const upper = { ...now, epoch: next.epoch ?? now.epoch, written: next.written ?? now.written };
    for (let index = expectations.length; index < disk.history.length; index++) expectations[index] = upper;
    now = { ...now, ...next };
    expectations[disk.history.length] = now;
  };
  const acknowledged = (written: number, epoch: number): Partial<Expectation> =>
    sync ? { written, epoch, synced: written, syncedEpoch: epoch } : { written, epoch };
  note({});
  for (const step of steps) {
    const { epoch, written } = now;
    const living = epoch % 2 === 1;
    if (step === "create" && !living) {
      await store.commit({ created: [meta(G, 0, epoch + 1)] }, { sync });
      note(acknowledged(0, epoch + 1));
    } else if (step === "delete" && living) {
      await store.commit({ deletions: [meta(G, written, epoch + 1)] }, { sync });
      note(acknowledged(0, epoch + 1));
    } else if (step === "append" && living) {
      await store.commit({ records: [record(G, written, 2, epoch)] }, { sync });
      note(acknowledged(written + 2, epoch));
    } else if (step === "snapshot" && living) {
      await store.commit({ snapshots: [snapshot(G, written, written, epoch)] }, { sync });
      note(acknowledged(written, epoch));
    } else if (step === "both" && living) {
      const records = [record(G, written, 1, epoch)];
      await store.commit({ records, snapshots: [snapshot(G, written + 1, written + 1, epoch)] }, { sync });
      note(acknowledged(written + 1, epoch));
    } else if (step === "other") {
      await store.commit({ snapshots: [snapshot("other", 1, 0)] });
      note({});
    } else if (step === "sync") {
      await store.sync();
      note({ synced: written, syncedEpoch: epoch });
    } else if (step === "restart") {
      await store.close();
      note({ synced: written, syncedEpoch: epoch });
      ({ store } = await openStore(disk.backend()));
    }
  }
  await store.close();
  note({ synced: now.written, syncedEpoch: now.epoch });
  return { disk, expectations };
}

/** Opens what a power cut left, checks it, writes on, and checks once more. */
async function recovered(disk: SimulatedDisk, expected: Expectation, inOrder = true): Promise<void> {
  const { store, damage } = await openStore(disk.backend());
  const rows = await collect(store.listGroups({ deleted: true, journalled: true }));
  // What a listing says of journals, with the mark of a clean stop or without, is what they hold.
  const behind = rows.filter(({ isJournalled }) => isJournalled).map(({ id }) => id);
  expect(behind).toEqual(await collect(store.listJournalled()));
  const row = await store.row(G);
  const epoch = row?.epoch ?? 0;
  expect(epoch).toBeGreaterThanOrEqual(expected.syncedEpoch);
  expect(epoch).toBeLessThanOrEqual(expected.epoch);
  const events = await check(store, epoch);
  if (epoch === expected.syncedEpoch) expect(events).toBeGreaterThanOrEqual(expected.synced);
  if (epoch === expected.epoch) expect(events).toBeLessThanOrEqual(expected.written);
  // Writes that survived out of order may leave a hole, but only among what was never acknowledged as synced.
  const holes = damage.filter(({ record }) => record === "journal").length;
  expect(inOrder ? holes : 0).toBe(0);
  if (epoch % 2 === 1) {
    await store.commit({ records: [record(G, events, 1, epoch)] }, { sync: true });
    await store.close();
    const again = await openStore(disk.afterPowerCut().backend());
    expect(await check(again.store, epoch)).toBe(events + 1);
  }
}

/** The number of events a load gives, whose bytes are as they were written. */
async function check(store: GroupStorage, epoch: number): Promise<number> {
  const group = await store.load(G);
  if (epoch % 2 === 0) {
    expect(group).toBeUndefined();
    return 0;
  }
  let events = group?.snapshot?.journalPosition ?? 0;
  const state = new TextDecoder().decode(group?.snapshot?.body);
  expect(state).toBe(group?.snapshot ? `state ${events}` : "");
  for (const { position, count, bytes } of group?.records ?? []) {
    expect(position).toBe(events);
    expect(new TextDecoder().decode(bytes)).toBe(`events ${position}+${count}`);
    events += count;
  }
  expect(group?.nextPosition).toBe(events);
  return events;
}

/** Every power cut that loses any choice of the unsynced writes, for engines that reorder. Returns how many. */
async function everyLoss({ disk, expectations }: Run): Promise<number> {
  let cuts = 0;
  for (let writes = 0; writes <= disk.history.length; writes++) {
    const expected = expectations[writes];
    if (expected === undefined) throw new Error(`no expectation at ${writes}`);
    const synced = disk.history.slice(0, writes).findLastIndex((write) => write.synced) + 1;
    for (let choice = 0; choice < 2 ** Math.min(writes - synced, 6); choice++) {
      const survives = (index: number): boolean => ((choice >> (index - synced)) & 1) === 1;
      await recovered(disk.afterPowerCut({ writes, survives }), expected, false);
      cuts++;
    }
  }
  return cuts;
}

/** Every power cut: at each write, with each number of surviving unsynced writes, torn and not. Returns how many. */
async function everyCut({ disk, expectations }: Run): Promise<number> {
  let cuts = 0;
  for (let writes = 0; writes <= disk.history.length; writes++) {
    const expected = expectations[writes];
    if (expected === undefined) throw new Error(`no expectation at ${writes}`);
    const synced = disk.history.slice(0, writes).findLastIndex((write) => write.synced) + 1;
    for (let survivors = synced; survivors <= writes; survivors++) {
      const torn = survivors < writes ? (disk.history[survivors]?.ops.length ?? 0) : 0;
      for (let tornOps = 0; tornOps < Math.max(torn, 1); tornOps++) {
        await recovered(disk.afterPowerCut({ writes, survives: (index) => index < survivors, tornOps }), expected);
        cuts++;
      }
    }
  }
  return cuts;
}

// Exhaustive, so it takes its time on a busy machine.
describe("a power cut at any write", { timeout: 120_000 }, () => {
  const alphabet: Step[] = ["append", "snapshot", "both", "delete", "create", "restart"];

  it(
    "loses nothing acknowledged, in every history of 4 steps, with sync and without",
    { timeout: 60_000 },
    async () => {
      let cuts = 0;
      for (let code = 0; code < alphabet.length ** 4; code++) {
        const steps = Array.from(
          { length: 4 },
          (_, index) => alphabet[Math.floor(code / alphabet.length ** index) % 6],
        );
        const sync = code % 2 === 0;
        cuts += await everyCut(await run(["create", ...(steps as Step[])], sync));
      }
      expect(cuts).toBeGreaterThan(1000);
    },
  );

  it("loses nothing synced when unsynced writes survive out of order", async () => {
    let cuts = 0;
    const tail: Step[] = ["append", "snapshot", "both", "delete"];
    for (let code = 0; code < tail.length ** 4; code++) {
      const steps = Array.from({ length: 4 }, (_, index) => tail[Math.floor(code / tail.length ** index) % 4] as Step);
      cuts += await everyLoss(await run(["create", "append", "sync", ...steps], false));
    }
    expect(cuts).toBeGreaterThan(1000);
  });

  it("leaves the mark of a clean stop only where it holds, when unsynced writes survive out of order", async () => {
    let cuts = 0;
    const tail: Step[] = ["append", "snapshot", "both", "restart"];
    for (let code = 0; code < tail.length ** 4; code++) {
      const steps = Array.from({ length: 4 }, (_, index) => tail[Math.floor(code / tail.length ** index) % 4] as Step);
      cuts += await everyLoss(await run(["create", "both", "restart", ...steps], false));
    }
    expect(cuts).toBeGreaterThan(1000);
  });

  it("loses nothing acknowledged, in longer histories", async () => {
    const step = fc.constantFrom<Step>(...alphabet, "sync", "other", "append", "both");
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 14 }), fc.boolean(), async (steps, sync) => {
        await everyCut(await run(["create", ...steps], sync));
      }),
      { numRuns: 30 },
    );
  });
});

describe("a disk that fails", () => {
  const groups = async (store: GroupStorage): Promise<number> => (await collect(store.listGroups())).length;

  it("with a failed write or sync: the commit fails with IO and its cause, and the store goes on", async () => {
    for (const operation of ["write", "sync"]) {
      const disk = new SimulatedDisk();
      const { store } = await openStore(disk.backend());
      await store.commit({ created: [meta(G)], records: [record(G, 0)] }, { sync: true });
      const cause = new Error("broken");
      disk.faults.fail = (failing) => (failing === operation ? cause : undefined);
      const failed = store.commit({ records: [record(G, 1)] }, { sync: true });
      await expect(failed).rejects.toMatchObject({ code: "IO", cause });
      disk.faults.fail = undefined;
      const position = (await store.load(G))?.nextPosition ?? 0;
      expect(position).toBe(operation === "write" ? 1 : 2);
      await store.commit({ records: [record(G, position)] }, { sync: true });
      const after = await openStore(disk.afterPowerCut().backend());
      expect(await after.store.load(G)).toMatchObject({ nextPosition: position + 1, damage: [] });
    }
  });

  it("with a failed sync of a group's first record: it is found, and the next one continues it", async () => {
    const disk = new SimulatedDisk();
    const { store } = await openStore(disk.backend());
    await store.commit({ created: [meta(G)], snapshots: [snapshot(G, 0)] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 0 });
    disk.faults.fail = (operation) => (operation === "sync" ? new Error("broken") : undefined);
    await expect(store.commit({ records: [record(G, 0)] }, { sync: true })).rejects.toMatchObject({ code: "IO" });
    disk.faults.fail = undefined;
    expect(await store.load(G)).toMatchObject({ nextPosition: 1, records: [{ position: 0 }] });
    expect((await collect(store.loadGroups()))[0]).toMatchObject({ nextPosition: 1 });
    await store.commit({ records: [record(G, 1)] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 2, damage: [] });
  });

  it("with a failed write that left nothing: the same commit succeeds later", async () => {
    const disk = new SimulatedDisk();
    const { store } = await openStore(disk.backend());
    await store.commit({ created: [meta(G)], records: [record(G, 0)] });
    disk.faults.fail = (operation) => (operation === "write" ? new Error("broken") : undefined);
    const again = { records: [record(G, 1)], snapshots: [snapshot(G, 2)] };
    for (let attempt = 0; attempt < 3; attempt++)
      await expect(store.commit(again)).rejects.toMatchObject({ code: "IO" });
    disk.faults.fail = undefined;
    await store.commit(again);
    expect(await store.load(G)).toMatchObject({ nextPosition: 2, snapshot: { journalPosition: 2 } });
  });

  it("with a failed sync: nothing is reported as synced that a power cut then takes", async () => {
    const disk = new SimulatedDisk();
    const { store } = await openStore(disk.backend());
    disk.faults.fail = (operation) => (operation === "sync" ? new Error("broken") : undefined);
    const failed = [store.commit({ created: [meta(G)] }, { sync: true }), store.sync()];
    for (const promise of failed) await expect(promise).rejects.toMatchObject({ code: "IO" });
    await expect(store.close()).rejects.toMatchObject({ code: "IO" });
    expect(await groups((await openStore(disk.afterPowerCut().backend())).store)).toBe(0);
  });

  it("that is full: FULL with advice, all that was stored is there, and it goes on once there is space", async () => {
    const disk = new SimulatedDisk();
    const { store } = await openStore(disk.backend());
    await store.commit({ created: [meta(G)], records: [record(G, 0)] });
    disk.faults.bytesMax = 400;
    const large = { ...record(G, 1), bytes: crypto.getRandomValues(new Uint8Array(900)) };
    const full = { code: "FULL", message: expect.stringContaining("free space") };
    await expect(store.commit({ records: [large] })).rejects.toMatchObject(full);
    expect(await store.load(G)).toMatchObject({ nextPosition: 1 });
    disk.faults.bytesMax = 1e6;
    await store.commit({ records: [large] });
    expect(await store.load(G)).toMatchObject({ nextPosition: 2 });
  });

  it("while it reads: IO, and nothing is taken for damaged", async () => {
    const disk = new SimulatedDisk();
    const { store, damage } = await openStore(disk.backend());
    await store.commit({ created: [meta(G)], snapshots: [snapshot(G, 0)] });
    disk.faults.fail = (operation) => (operation === "read" ? new Error("broken") : undefined);
    await expect(store.load(G)).rejects.toMatchObject({ code: "IO" });
    await expect(groups(store)).rejects.toMatchObject({ code: "IO" });
    disk.faults.fail = undefined;
    expect(await groups(store)).toBe(1);
    expect(damage).toEqual([]);
  });
});
