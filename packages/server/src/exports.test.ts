import * as crdt from "@coppice/crdt";
import * as replication from "@coppice/replication";
import * as storage from "@coppice/storage";
import { expect, test } from "vitest";
import * as coppice from "./index.ts";

test("one import has everything of the packages below", () => {
  const below = [crdt, replication, storage].flatMap((module) => Object.keys(module));
  const here = new Set(Object.keys(coppice));
  expect(below.filter((name) => !here.has(name))).toEqual([]);
});
