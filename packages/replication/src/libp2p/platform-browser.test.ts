import { expect, test } from "vitest";
import * as browser from "./platform-browser.ts";
import * as node from "./platform-node.ts";

test("browsers have what Node.js has, under the same names", () => {
  expect(Object.keys(browser).toSorted()).toEqual(Object.keys(node).toSorted());
  expect(browser.allocate(3)).toHaveLength(3);
});

test("a page that is to find peers by multicast is told that it cannot", async () => {
  await expect(browser.discoverLocally()).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});
