import { afterEach, expect, it, vi } from "vitest";
import * as browser from "./platform-browser.ts";
import * as node from "./platform-node.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

it("both platforms have the same names", () => {
  expect(Object.keys(browser).sort()).toEqual(Object.keys(node).sort());
});

it("what one platform compresses, the other reads", async () => {
  for (const length of [0, 1, 5000, 300_000]) {
    const bytes = Uint8Array.from({ length }, (_, index) => (index >> 4) & 255);
    for (const [writer, reader] of [
      [browser, node],
      [node, browser],
      [browser, browser],
    ] as const) {
      const packed = await writer.compress(1, bytes);
      expect(Buffer.compare(await reader.decompress(1, packed, length), bytes)).toBe(0);
    }
  }
});

it("decompressing stops at the limit, and at garbage", async () => {
  const packed = await node.compress(1, new Uint8Array(1_000_000));
  for (const platform of [browser, node]) {
    await expect(platform.decompress(1, packed, 999_999)).rejects.toBeInstanceOf(Error);
    await expect(platform.decompress(1, Uint8Array.of(255, 255, 255), 10)).rejects.toBeInstanceOf(Error);
  }
});

it("a tab keeps others out until it lets go; without locks there is none", async () => {
  vi.stubGlobal("navigator", undefined);
  expect(await browser.lockLocation("data")).toBeUndefined();
  expect(browser.canLock()).toBe(false);
  const held = new Set<string>();
  const locks = {
    async request(name: string, _options: object, hold: (lock: object | null) => unknown): Promise<void> {
      if (held.has(name)) return void (await hold(null));
      held.add(name);
      await hold({});
      held.delete(name);
    },
  };
  vi.stubGlobal("navigator", { locks });
  expect(browser.canLock()).toBe(true);
  const release = await browser.lockLocation("data");
  await expect(browser.lockLocation("data")).rejects.toMatchObject({ code: "LEVEL_LOCKED" });
  release?.();
  await vi.waitFor(() => expect(held.size).toBe(0));
  expect(await browser.lockLocation("data")).toBeTypeOf("function");
});
