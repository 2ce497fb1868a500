// Writes to one group until it is killed, and tells each acknowledged write on standard output; see kill-loop.test.ts.
// Output is written synchronously: a line that is out stays out, whatever happens to the process.
import { writeSync } from "node:fs";
import { createNode, gCounter, lwwMap, struct } from "coppice";
import { levelStorage } from "coppice/level";

const { data, round, writers, valueBytes, ...options } = JSON.parse(process.argv[2]);
const book = struct({ entries: lwwMap(), count: gCounter });
const tell = (line) => writeSync(1, `${JSON.stringify(line)}\n`);

const node = await createNode({
  ...options,
  types: [book],
  storage: levelStorage(data),
  onNotice: (notice) => tell({ notice }),
});
const report = await node.recover();
const replica = await node.open(["kill", "loop"], book);
const { entries, count } = replica.value();
tell({
  recovered: {
    keys: Object.keys(entries),
    count,
    groups: report.groups,
    degraded: report.degraded.length,
    failed: report.failed.length,
  },
});

let written = 0;
async function write() {
  for (;;) {
    const key = `${round}-${written++}`;
    await replica.mutate((group) => {
      group.entries.set(key, "x".repeat(valueBytes));
      group.count.increment();
    });
    tell({ acknowledged: key });
  }
}
// Several at once, so that commits hold several events and others gather behind them.
if (writers === 0) await node.close();
else await Promise.all(Array.from({ length: writers }, write));
