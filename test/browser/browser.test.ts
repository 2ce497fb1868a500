import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gCounter, lwwMap, orMap, struct } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { libp2pTransport } from "@coppice/replication/libp2p";
import { createGroupStore, exportGroups, importGroups } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { backendSuite } from "@coppice/storage/testing";
import { findChromium, NO_CHROMIUM, Profile } from "./chromium.ts";
import type { PageApi, PageGroup } from "./page.ts";
import { bundlePage, PageServer } from "./page-server.ts";

const executable = findChromium();
const name = executable === undefined ? `in a browser (skipped: ${NO_CHROMIUM})` : "in Chromium";
if (executable === undefined) console.warn(`Browser tests are skipped: ${NO_CHROMIUM}.`);

const words = struct({ words: orMap(gCounter), total: gCounter });

describe.skipIf(executable === undefined)(name, () => {
  let profile: Profile;
  let code: string;
  let server: PageServer;
  let address: string;
  let page: Page;
  const problems: string[] = [];

  beforeAll(async () => {
    code = await bundlePage();
    server = new PageServer(code);
    address = await server.listen();
    profile = new Profile(executable ?? "");
    page = await newPage();
  }, 120_000);

  afterAll(async () => {
    await profile?.remove();
    await server?.close();
  });

  async function newPage(url = address): Promise<Page> {
    const opened = await (await profile.context()).newPage();
    opened.on("pageerror", (error) => problems.push(error.message));
    await opened.goto(url);
    await opened.waitForFunction(() => globalThis.coppice !== undefined);
    return opened;
  }

  /** Calls a function of `page.ts` in a page. */
  async function call<Name extends keyof PageApi>(
    on: Page,
    method: Name,
    ...args: Parameters<PageApi[Name]>
  ): Promise<Awaited<ReturnType<PageApi[Name]>>> {
    const run = async (request: { method: string; args: unknown[] }): Promise<unknown> => {
      const functions = globalThis.coppice as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>;
      return await functions[request.method]?.(...request.args);
    };
    return (await on.evaluate(run, { method, args })) as Awaited<ReturnType<PageApi[Name]>>;
  }

  const names: string[] = [];
  backendSuite({
    describe,
    it: (title) => {
      names.push(title);
      it(title, () => call(page, "runSuiteTest", title));
    },
    name: "IndexedDB",
    create: () => Promise.reject(new Error("the suite runs in the page")),
  });

  it("the built suite in the page is the one that ran", async () => {
    expect(await call(page, "suiteNames")).toEqual(names);
  });

  it("groups are listed and loaded again, in a reloaded page and in a browser started anew", async () => {
    await call(page, "fill", "round-trip");
    const first = await call(page, "read", "round-trip");
    expect(first.map(({ id }) => id)).toEqual(["large", "small"]);
    for (const { id, body, records, nextPosition, damage } of first) {
      expect(body).toEqual(bytes(id === "small" ? 10 : 20_000, 3));
      expect(records).toEqual([4, 5].map((event) => bytes(id === "small" ? 10 : 20_000, event)));
      expect({ nextPosition, damage }).toEqual({ nextPosition: 6, damage: [] });
    }
    await page.reload();
    expect(await call(page, "read", "round-trip")).toEqual(first);
    await profile.stop();
    page = await newPage();
    expect(await call(page, "read", "round-trip")).toEqual(first);
    expect(await call(page, "check", "round-trip")).toEqual({ damaged: 0, groups: 2 });
  });

  it("a flipped bit in a snapshot is found, and the older one with the journal loses nothing", async () => {
    await call(page, "fill", "damage");
    expect(await call(page, "damage", "damage")).toBe(2);
    expect(await call(page, "check", "damage")).toEqual({ damaged: 2, groups: 2 });
    for (const { id, body, records, nextPosition, damage, degraded } of await call(page, "read", "damage")) {
      const length = id === "small" ? 10 : 20_000;
      expect(damage).not.toEqual([]);
      expect(body).toEqual(bytes(length, 1));
      expect(records).toEqual([2, 3, 4, 5].map((event) => bytes(length, event)));
      expect({ nextPosition, degraded }).toEqual({ nextPosition: 6, degraded: true });
    }
    expect((await call(page, "read", "damage")).flatMap(({ damage }) => damage)).toEqual([]);
  });

  it("one tab has a store; another is refused, until the first closes it or goes away", async () => {
    const other = await newPage();
    expect(await call(page, "hold", "tabs")).toBe("open");
    expect(await call(page, "hold", "tabs")).toMatch(/^LOCKED .*tabs.*another/);
    expect(await call(other, "hold", "tabs")).toMatch(/^LOCKED .*tabs.*another/);
    await call(page, "release");
    expect(await call(other, "hold", "tabs")).toBe("open");
    expect(await call(page, "hold", "tabs")).toMatch(/^LOCKED /);
    await other.close();
    // The lock goes when the tab's process has ended, which takes a moment.
    await expect.poll(() => call(page, "hold", "tabs")).toBe("open");
    await call(page, "release");
  });

  it("a quota that is used up: FULL with advice, reads go on, and so do writes once there is more", async () => {
    // An origin of its own: what a browser has told an origin to be free, it lets it use.
    const elsewhere = new PageServer(code);
    const other = await newPage(await elsewhere.listen());
    const origin = new URL(other.url()).origin;
    const devtools = await (await profile.context()).newCDPSession(other);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 2_000_000 });
    const { written, ...failure } = await call(other, "fillUp", "quota", 1000);
    expect(failure).toEqual({ code: "FULL", message: expect.stringContaining("quota") });
    expect(written).toBeGreaterThan(0);
    expect(await call(other, "countFilled")).toBe(written);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin });
    expect(await call(other, "fillUp", "quota", written + 10)).toMatchObject({ written: written + 10 });
    await call(other, "closeFilled");
    expect(await call(other, "fillUp", "quota", 0)).toMatchObject({ code: undefined });
    expect(await call(other, "countFilled")).toBe(written + 10);
    await call(other, "closeFilled");
    await other.close();
    await elsewhere.close();
  });

  it("what a browser exports, Node.js imports, and the other way round", async () => {
    await call(page, "fill", "export");
    const exported = Uint8Array.from((await call(page, "export", "export")).split(","), Number);
    const directory = await mkdtemp(join(tmpdir(), "coppice-from-browser-"));
    const store = createGroupStore(levelStorage(directory));
    await store.open();
    expect(await importGroups(store, chunks(exported))).toMatchObject({ groups: 2, imported: 2 });
    const again: Uint8Array[] = [];
    for await (const chunk of exportGroups(store)) again.push(chunk);
    await store.close();
    await rm(directory, { recursive: true });
    expect(await call(page, "import", "import", Buffer.concat(again).join())).toBe(2);
    const plain = (groups: readonly PageGroup[]): unknown => groups.map(({ body, records }) => ({ body, records }));
    expect(plain(await call(page, "read", "import"))).toEqual(plain(await call(page, "read", "export")));
  });

  it("two replicas become equal, and each has all of it again after a reload", async () => {
    const value = { words: { leaf: 2, tree: 4 }, total: 6 };
    expect(await call(page, "replicate", ["node-a", "node-b"])).toEqual(value);
    await page.reload();
    for (const place of ["node-a", "node-b"]) {
      const counts = { recovered: 2, degraded: 0, failed: 0, events: 7 };
      expect(await call(page, "recover", place)).toEqual({ ...counts, value, notes: { kept: "yes" } });
    }
  });

  it("a page that has counted alone becomes equal with a node over a WebSocket, after a reload too", async () => {
    const transport = libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0/ws"], allow: "any" });
    await using node = await createNode({ types: [words], transport });
    const [peer = ""] = node.addresses();
    const replica = await node.open(["w", 1], words);
    replica.mutate((group) => group.total.increment(1));
    await call(page, "count", "linked", "alone");
    expect(await call(page, "count", "linked", "tree", peer, 3)).toEqual({ words: { alone: 1, tree: 1 }, total: 4 });
    expect(replica.value()).toEqual({ words: { alone: 1, tree: 1 }, total: 4 });
    await page.reload();
    expect(await call(page, "count", "linked", "tree", peer, 5)).toEqual({ words: { alone: 1, tree: 2 }, total: 6 });
    expect(replica.value()).toEqual({ words: { alone: 1, tree: 2 }, total: 6 });
  });

  it("several tabs are nodes of their own, which find each other's writes through the node that they dial", async () => {
    const transport = libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0/ws"], allow: "any" });
    await using node = await createNode({ types: [lwwMap()], transport });
    const [peer = ""] = node.addresses();
    const tabs = [await newPage(), await newPage()];
    const [first, second] = [
      await call(tabs[0] ?? page, "startTab", peer),
      await call(tabs[1] ?? page, "startTab", peer),
    ];
    expect(second.id).not.toBe(first.id);
    expect(second.notes).toEqual({ [first.id]: "was here", [second.id]: "was here" });
    for (const tab of tabs) await tab.close();
  });

  it("a page is told that a peer could not be reached, as far as a browser tells", async () => {
    const address = "/ip4/127.0.0.1/tcp/1/ws";
    const reason = "the WebSocket did not open, and browsers do not tell pages why";
    expect(await call(page, "dial", address)).toBe(`could not reach ${address}: ${reason}`);
  });

  it("nothing failed aside", () => {
    expect(problems).toEqual([]);
  });
});

/** The fingerprint of bytes as the page makes them. */
function bytes(length: number, seed: number): string {
  const value = Uint8Array.from({ length }, (_, index) => (seed + (index >> 3)) & 255);
  return `${length} ${value.reduce((hash, byte) => Math.imul(hash ^ byte, 16_777_619), 2_166_136_261)}`;
}

async function* chunks(whole: Uint8Array): AsyncGenerator<Uint8Array> {
  yield whole;
}
