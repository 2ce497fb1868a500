import * as crdt from "@coppice/crdt";
import * as crdtTesting from "@coppice/crdt/testing";
import * as replication from "@coppice/replication";
import * as libp2p from "@coppice/replication/libp2p";
import * as storage from "@coppice/storage";
import * as registry from "@coppice/storage/registry";
import * as storageTesting from "@coppice/storage/testing";
import { expect, test } from "vitest";
import * as coppice from "./index.ts";
import * as ownLibp2p from "./libp2p/index.ts";
import * as ownRegistry from "./registry/index.ts";
import * as ownTesting from "./testing/index.ts";

test.each<[string, object[], object]>([
  ["coppice", [crdt, replication, storage], coppice],
  ["coppice/libp2p", [libp2p], ownLibp2p],
  ["coppice/registry", [registry], ownRegistry],
  ["coppice/testing", [crdtTesting, storageTesting], ownTesting],
])("one import of %s has everything of the packages below", (_name, modules, own) => {
  const below = modules.flatMap((module) => Object.keys(module));
  const here = new Set(Object.keys(own));
  expect(below.filter((name) => !here.has(name))).toEqual([]);
});
