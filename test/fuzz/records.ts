import { Run, decodeMessage, unpackFrame } from "@coppice/replication/testing";
import { drawPlan } from "../simulation/plan.ts";
import { World } from "../simulation/world.ts";

/** What nodes really send and store, taken from a few simulated runs. */
export interface Records {
  readonly frames: readonly Uint8Array[];
  /** By kind of message. */
  readonly messages: ReadonlyMap<string, readonly Uint8Array[]>;
  readonly runs: readonly Uint8Array[];
  /** What stands under keys, by the first character of the key. */
  readonly values: ReadonlyMap<string, readonly StoredRecord[]>;
  readonly journal: readonly StoredRecord[];
}

/** A stored value and the place that its seal names. */
export interface StoredRecord {
  readonly place: string;
  readonly bytes: Uint8Array;
}

const SEEDS = [11, 12, 13, 14];
const BYTES_MAX = 700;
const OF_A_KIND_MAX = 12;

let made: Promise<Records> | undefined;

/** Made once, when first asked for. */
export function records(): Promise<Records> {
  return (made ??= make());
}

async function make(): Promise<Records> {
  const frames: Uint8Array[] = [];
  const messages = new Map<string, Uint8Array[]>();
  const runs: Uint8Array[] = [];
  const values = new Map<string, StoredRecord[]>();
  const journal: StoredRecord[] = [];
  const onFrame = (frame: Uint8Array): void => {
    keep(frames, frame, 40);
    for (const bytes of unpackFrame(frame)) {
      const message = decodeMessage(bytes);
      if (message === undefined) continue;
      keep(listOf(messages, message.kind), bytes.slice());
      if (message.kind === "events" && Run.decode(message.run).count > 0) keep(runs, message.run.slice());
    }
  };
  for (const seed of SEEDS) {
    const world = new World(drawPlan(seed, { kinds: ["kill", "partition", "snapshot", "delete"] }), { onFrame });
    await world.run();
    for (const { disk } of world.machines) {
      const range = { prefix: "", after: undefined, limit: Number.MAX_SAFE_INTEGER, values: true };
      for (const page of disk.contents.scan(range)) {
        for (const { key, value } of page) keepRecord(listOf(values, key.slice(0, 1)), key, value);
      }
      for (const logs of disk.contents.listLogs("")) {
        for (const { log } of logs) {
          for (const page of disk.contents.readLog(log, 0)) {
            for (const { seq, value } of page) keepRecord(journal, `${log} ${seq}`, value);
          }
        }
      }
    }
  }
  return { frames, messages, runs, values, journal };
}

function listOf<Item>(lists: Map<string, Item[]>, kind: string): Item[] {
  const list = lists.get(kind) ?? [];
  lists.set(kind, list);
  return list;
}

function keep(list: Uint8Array[], bytes: Uint8Array, max = OF_A_KIND_MAX): void {
  if (list.length < max && bytes.length <= BYTES_MAX) list.push(bytes);
}

function keepRecord(list: StoredRecord[], place: string, bytes: Uint8Array): void {
  if (list.length < OF_A_KIND_MAX && bytes.length <= BYTES_MAX) list.push({ place, bytes: bytes.slice() });
}
