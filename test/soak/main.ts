// `npm run soak`: breaks the link between two nodes again and again, and measures what stays behind. It runs without the
// optimizing compilers: what they add to the heap goes on growing for thousands of rounds, and would hide a leak.
import { parseArgs } from "node:util";
import { type Figures, soak } from "./soak.ts";

const USAGE = `node --expose-gc --no-opt --no-sparkplug test/dist/soak/main.js [options]
  --reconnects N   how many links to break (2000)
  --seconds S      at most this long (600)
  --heap off       judge handles and contents only: a short run cannot tell a leak from warming up`;

/** Heap that a reconnect may leave behind, as a slope over the second half of the run: less is noise. */
const BYTES_PER_RECONNECT_MAX = 256;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      reconnects: { type: "string", default: "2000" },
      seconds: { type: "string", default: "600" },
      heap: { type: "string", default: "on" },
      help: { type: "boolean", default: false },
    },
  });
  const [reconnects, seconds] = [Number(values.reconnects), Number(values.seconds)];
  if (values.help || !(reconnects >= 40) || !(seconds > 0)) {
    console.log(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const collectGarbage = globalThis.gc;
  if (collectGarbage === undefined) throw new Error("run it with node --expose-gc");
  console.log("broken  heap MB  external MB  ms a link  KB sent  handles");
  const report = await soak({ reconnects, seconds, collectGarbage: () => collectGarbage(), onFigures: print });
  for (const [kind, count] of report.broken) console.log(`${String(count).padStart(6)}  ${kind}`);
  const slope = Math.round(report.bytesPerReconnect);
  const more = countOf(report.last) - countOf(report.first);
  const isFlat = slope <= BYTES_PER_RECONNECT_MAX || values.heap === "off";
  const isClean = isFlat && more <= 0 && report.areEqual;
  console.log(`${slope} bytes of heap and ${more} handles stay behind per reconnect and in all`);
  console.log(report.areEqual ? "both nodes hold the same" : "THE NODES DIFFER");
  console.log(isClean ? "nothing leaks" : `LEAK: over ${BYTES_PER_RECONNECT_MAX} bytes a reconnect, or handles`);
  process.exitCode = isClean ? 0 : 1;
}

function countOf({ handles }: Figures): number {
  return [...handles.values()].reduce((sum, count) => sum + count, 0);
}

function print({ broken, heapBytes, externalBytes, handles, msPerLink, sentBytes }: Figures): void {
  const kinds = [...handles].map(([kind, count]) => `${count} ${kind}`).join(", ");
  const columns = [
    String(broken).padStart(6),
    (heapBytes / 2 ** 20).toFixed(2).padStart(7),
    (externalBytes / 2 ** 20).toFixed(2).padStart(11),
    msPerLink.toFixed(1).padStart(9),
    String(Math.round(sentBytes / 1024)).padStart(7),
    kinds,
  ];
  console.log(columns.join("  "));
}

await main();
