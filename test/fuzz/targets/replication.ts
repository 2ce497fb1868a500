import { createActor } from "@coppice/crdt";
import {
  type Message,
  Reassembly,
  Run,
  RunWalk,
  Sketch,
  decodeMessage,
  decodeRuns,
  encodeMessage,
  encodeRuns,
  packFrames,
  unpackFrame,
} from "@coppice/replication/testing";
import { records } from "../records.ts";
import { type Target, accept, isNamed, must, mustBeBounded, mustEqual } from "../target.ts";

const isTyped = isNamed("CrdtError");

/** One of each kind that simulated runs send too rarely. */
const RARE: readonly Message[] = [
  { kind: "hello", protocol: 1, heard: true, domains: ["a", "", "ü"] },
  { kind: "hello", protocol: 1, heard: false, domains: undefined },
  { kind: "presence", key: "sa!", origin: "n1", clock: 7, state: Uint8Array.of(1, 2) },
  {
    kind: "remind",
    key: "sa!",
    epoch: 1,
    actor: createActor(new Uint8Array(8), new Uint8Array(8)),
    seq: 3,
    durable: true,
  },
  { kind: "broadcast", key: "sa!", origin: "n1", clock: 7, message: Uint8Array.of(1, 2) },
  { kind: "check", key: "sa!", epoch: 1, id: 3, isReply: true, digest: [1, 2], hash: "ab" },
  { kind: "more", domain: "a", version: 2, from: 64, upto: 96 },
  { kind: "fragment", id: 1, index: 0, count: 2, bytes: Uint8Array.of(9, 9) },
  { kind: "conflict", group: { key: "sa!", type: "ormap", epoch: 1 } },
  sketchOf([1, 2 ** 31]),
];

function sketchOf(hashes: readonly number[]): Message {
  const sketch = new Sketch(64);
  for (const hash of hashes) sketch.toggle(hash, [hash & 255, 7]);
  return { kind: "sketch", domain: "a", version: 1, from: 0, cells: sketch.cells(0, 16) };
}

/** A message of any kind: what was read is written and read the same. */
async function messageTarget(): Promise<Target> {
  const { messages } = await records();
  const ours = new Sketch(64);
  for (let hash = 1; hash < 40; hash++) ours.toggle(hash * 12_345, [hash, hash]);
  return {
    name: "message",
    seeds: [...RARE.map(encodeMessage), ...[...messages.values()].flat()],
    run(input) {
      const message = accept(() => decodeMessage(input), isTyped);
      if (message === undefined) return false;
      mustBeBounded(message, input);
      const bytes = encodeMessage(message);
      const again = decodeMessage(bytes);
      must(again !== undefined, "a message that was written is of no known kind");
      mustEqual(encodeMessage(again), bytes, "a message is not written as it was read");
      if (message.kind === "sketch") {
        const found = ours.difference(message.cells, (hash) => (hash % 12_345 === 0 ? [[hash / 12_345, 1]] : []));
        if (found !== undefined) mustBeBounded([...found], input, 512);
      }
      if (message.kind === "events") accept(() => Run.decode(message.run), isTyped);
      return true;
    },
  };
}

/** A frame, and the fragments in it: put together under a limit. */
async function frameTarget(): Promise<Target> {
  const { frames, messages } = await records();
  const bytesMax = 10_000;
  const long = new Uint8Array(700).fill(5);
  const parts = [0, 1, 2].map((index) => encodeMessage({ kind: "fragment", id: 4, index, count: 3, bytes: long }));
  return {
    name: "frame",
    seeds: [
      ...frames,
      ...packFrames(parts, () => 1),
      ...packFrames([...messages.values()].flat().slice(0, 4), () => 2),
    ],
    run(input) {
      const reassembly = new Reassembly(bytesMax);
      const isWhole = accept(() => {
        for (const bytes of unpackFrame(input)) {
          const message = decodeMessage(bytes);
          if (message?.kind !== "fragment") continue;
          const whole = reassembly.add(message);
          must(whole === undefined || whole.length <= bytesMax, "more was put together than is allowed");
          if (whole !== undefined) decodeMessage(whole);
        }
        return true;
      }, isTyped);
      return isWhole === true;
    },
  };
}

/** A run of events: every event stands within it, and a journal record is made of such runs. */
async function runTarget(): Promise<Target> {
  const { runs } = await records();
  return {
    name: "run",
    seeds: runs,
    run(input) {
      const run = accept(() => Run.decode(input), isTyped);
      if (run === undefined) return false;
      mustBeBounded(run.dependencies, input);
      must(
        run.count > 0 && run.count <= input.length && run.lastSeq < 2 ** 31,
        "a run has more events than it can have",
      );
      let time = 0;
      const walk = new RunWalk(run, 0, run.count);
      while (walk.next()) {
        must(walk.start <= walk.end && walk.end <= input.length, "a delta is not within its run");
        must(walk.time > time || walk.seq === run.firstSeq, "the times of a run do not rise");
        time = walk.time;
      }
      must(walk.seq === run.lastSeq, "a walk does not end where its run does");
      for (const { index, list } of run.dependencies) {
        must(index < run.count && list.every(({ actor, seq }) => actor !== run.actor && seq > 0), "a bad dependency");
      }
      const [again, ...more] = decodeRuns(encodeRuns([run]));
      must(more.length === 0 && again !== undefined, "one run became several");
      mustEqual(again.bytes, run.bytes, "a run is not written as it was read");
      return true;
    },
  };
}

async function runsTarget(): Promise<Target> {
  const { runs } = await records();
  const pairs = runs.map((run, index) => encodeRuns([Run.decode(run), Run.decode(runs[index - 1] ?? run)]));
  return {
    name: "runs",
    seeds: pairs,
    run(input) {
      const decoded = accept(() => decodeRuns(input), isTyped);
      if (decoded === undefined) return false;
      const written = encodeRuns(decoded);
      mustEqual(encodeRuns(decodeRuns(written)), written, "runs are not written as they were read");
      must(
        decoded.every((run) => run.count > 0),
        "a run without events",
      );
      return true;
    },
  };
}

export function replicationTargets(): Map<string, () => Promise<Target>> {
  return new Map([
    ["message", messageTarget],
    ["frame", frameTarget],
    ["run", runTarget],
    ["runs", runsTarget],
  ]);
}
