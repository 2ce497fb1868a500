// Writers on one node over a real engine, each waiting for every write to be on stable storage. `fsync` of the file
// `marker` tells a trace of this process where their work begins and ends. Prints counts as JSON.
import { fsyncSync, openSync } from "node:fs";
import { join } from "node:path";
import { gCounter } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { resolveStorage } from "@coppice/storage/registry";

const [, , scheme, directory, ...counts] = process.argv;
const [writers, rounds] = counts.map(Number);
const backend = await resolveStorage({ scheme, location: join(directory, "data") });
let synced = 0;
const write = backend.write.bind(backend);
backend.write = (ops, options) => {
  if (options?.sync) synced++;
  return write(ops, options);
};
const node = await createNode({ types: [gCounter], storage: backend, durability: "sync", snapshotIntervalMs: false });
const counters = await Promise.all(Array.from({ length: writers }, (_, index) => node.open(["c", index], gCounter)));
await Promise.all(counters.map((counter) => counter.mutate((c) => c.increment(1), { ack: "sync" })));
const marker = openSync(join(directory, "marker"), "w");
fsyncSync(marker);
synced = 0;
await Promise.all(
  counters.map(async (counter) => {
    for (let round = 0; round < rounds; round++) await counter.mutate((c) => c.increment(1), { ack: "sync" });
  }),
);
const groupCommits = synced;
fsyncSync(marker);
await node.close();
console.log(JSON.stringify({ writes: writers * rounds, groupCommits }));
