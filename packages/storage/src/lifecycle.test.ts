import { describe, expect, it } from "vitest";
import { createDomains } from "./domains.ts";
import { exportGroups } from "./export.ts";
import type { GroupStorage } from "./group-storage.ts";
import { createGroupStore } from "./group-store.ts";
import { collect, meta, record } from "./group-store.test-support.ts";
import { SimulatedDisk } from "./testing/simulated-disk.ts";
import { writeBehind } from "./write-behind.ts";

type Call = (storage: GroupStorage, options?: { signal: AbortSignal }) => Promise<unknown>;

const NODE = { nodeId: "n", starts: 1, clean: false, peers: [] };

/** Every operation of a group storage that waits and can be told to stop. */
const STOPPABLE: Record<string, Call> = {
  commit: (storage, options) => storage.commit({ created: [meta("a")] }, options),
  load: (storage, options) => storage.load("a", options),
  listGroups: (storage, options) => collect(storage.listGroups({ journalled: true, ...options })),
  loadGroups: (storage, options) => collect(storage.loadGroups(options)),
  listJournalled: (storage, options) => collect(storage.listJournalled(options)),
  listSuperseded: (storage, options) => collect(storage.listSuperseded(options)),
};

const OPERATIONS: Record<string, Call> = {
  ...STOPPABLE,
  history: (storage) => storage.history("a"),
  row: (storage) => storage.row("a"),
  removeSuperseded: (storage) => storage.removeSuperseded("a", 1),
  readNode: (storage) => storage.readNode(),
  writeNode: (storage) => storage.writeNode(NODE),
  readSecret: (storage) => storage.readSecret("key"),
  writeSecret: (storage) => storage.writeSecret("key", Uint8Array.of(1)),
  sync: (storage) => storage.sync(),
  export: (storage) => collect(pagesOf(exportGroups(storage))),
};

async function* pagesOf<Item>(items: AsyncIterable<Item>): AsyncGenerator<readonly Item[]> {
  for await (const item of items) yield [item];
}

/** The code of what a call fails with. */
async function codeOf(call: Promise<unknown>): Promise<string | undefined> {
  return await call.then(
    () => undefined,
    ({ code, name }: { code?: string; name: string }) => code ?? name,
  );
}

const KINDS: Record<string, (disk: SimulatedDisk) => GroupStorage> = {
  "a group store": (disk) => createGroupStore(disk.backend()),
  "a group store in memory": (disk) => createGroupStore(writeBehind(disk.backend())),
  "a router of domains": (disk) => createDomains({ adapter: disk.backend() }),
};

for (const [name, make] of Object.entries(KINDS)) {
  describe(name, () => {
    it.each(Object.entries(OPERATIONS))("%s: NOT_OPEN before, while it opens or closes, and after", async (_, call) => {
      const storage = make(new SimulatedDisk());
      const refused = { code: "NOT_OPEN" };
      await expect(call(storage)).rejects.toMatchObject(refused);
      for (let round = 0; round < 2; round++) {
        const opening = storage.open();
        await Promise.resolve();
        const first = call(storage);
        let isOpen = false;
        void opening.then(() => (isOpen = true));
        const others: Promise<string | undefined>[] = [];
        while (!isOpen) {
          others.push(codeOf(call(storage)));
          await Promise.resolve();
        }
        await expect(first).rejects.toMatchObject(refused);
        expect(["NOT_OPEN", undefined]).toEqual(expect.arrayContaining([...new Set(await Promise.all(others))]));
        await call(storage);
        const closing = storage.close();
        await Promise.resolve();
        await expect(call(storage)).rejects.toMatchObject(refused);
        await closing;
        await expect(call(storage)).rejects.toMatchObject(refused);
      }
    });

    it.each(Object.entries(STOPPABLE))("%s: ABORTED when the signal has fired", async (_, call) => {
      await using storage = make(new SimulatedDisk());
      const signal = AbortSignal.abort(new Error("enough"));
      const aborted = { code: "ABORTED", cause: { message: "enough" } };
      await expect(storage.open({ signal })).rejects.toMatchObject(aborted);
      await storage.open();
      await expect(call(storage, { signal })).rejects.toMatchObject(aborted);
      await storage.commit({ created: [meta("a")] });
      await expect(call(storage, { signal })).rejects.toMatchObject(aborted);
    });

    it("opens and closes in any order, and the last call decides", async () => {
      const storage = make(new SimulatedDisk());
      await Promise.all([storage.open(), storage.close(), storage.open()]);
      await storage.commit({ created: [meta("a")], records: [record("a", 0)] });
      await Promise.all([storage.close(), storage.open(), storage.open()]);
      expect(await storage.load("a")).toMatchObject({ nextPosition: 1 });
      await Promise.all([storage.open(), storage.close(), storage.close()]);
      await expect(storage.load("a")).rejects.toMatchObject({ code: "NOT_OPEN" });
    });

    it("is closed when opening has failed, and opens once it can", async () => {
      const disk = new SimulatedDisk();
      await using storage = make(disk);
      disk.faults.fail = (operation) => (operation === "read" ? new Error("broken") : undefined);
      await expect(storage.open()).rejects.toMatchObject({ code: "IO" });
      await expect(storage.row("a")).rejects.toMatchObject({ code: "NOT_OPEN" });
      disk.faults.fail = undefined;
      // It has let go of the lock.
      const other = createGroupStore(disk.backend());
      await other.open();
      await other.close();
      await storage.open();
      expect(await storage.row("a")).toBeUndefined();
    });
  });
}
