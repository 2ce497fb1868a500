/** One process of a system that is compared: takes commands from its parent, one at a time; see `worker.ts`. */
import { setTimeout as sleep } from "node:timers/promises";
import { nowNs, turn } from "../replication/figure.ts";
import { answerCommands } from "../replication/commands.ts";
import { PROBE } from "../replication/shared.ts";
import { type Member, type SharedMap, type System, type SystemName, type Value, load } from "./system.ts";

const KEYS = ["name", "state", "owner"];
const VALUE = "value678";
/** More than the slowest takes for what is asked of it. */
const WAIT_MS_MAX = 50_000;

let system: System;
let member: Member;
let map: SharedMap;
/** Nanoseconds that each probe has travelled. */
let samples: number[] = [];
let awaited: { readonly key: string; readonly reached: (atNs: number) => void } | undefined;
let reachedAt: Promise<number> = Promise.resolve(0);

function watch(): void {
  let last: Value | undefined;
  map.onChange(() => {
    const atNs = nowNs();
    const probe = map.get(PROBE);
    if (typeof probe === "number" && probe !== last) samples.push(atNs - probe);
    last = probe;
    if (awaited !== undefined && map.get(awaited.key) !== undefined) awaited.reached(atNs);
  });
}

/** Waits for maps that have been asked for to hold what was written into them. */
async function readable(ids: readonly string[]): Promise<void> {
  const endNs = nowNs() + WAIT_MS_MAX * 1e6;
  const maps = await Promise.all(ids.map((id) => member.open(id)));
  for (const each of maps) {
    while (KEYS.some((key) => each.get(key) !== VALUE)) {
      if (nowNs() > endNs) throw new Error("not all values have come");
      await turn();
    }
  }
}

answerCommands({
  async load({ name }: { name: SystemName }) {
    system = await load(name);
  },
  async host({ directory }: { directory?: string }) {
    member = await system.host(directory);
    return member.address;
  },
  async join({ address }: { address: string }) {
    member = await system.join(address);
  },
  close: () => member.close(),

  async create() {
    const created = await member.create("map");
    ({ map } = created);
    return created.id;
  },
  /** The same map elsewhere. */
  async open({ id }: { id: string }) {
    map = await member.open(id);
  },
  /** From now on this process is told all changes, and looks what has come. */
  watch,

  /** Writes with a pause after each. */
  async probe({ probes, pauseMs }: { probes: number; pauseMs: number }) {
    for (let probe = 0; probe < probes; probe++) {
      map.set([[PROBE, nowNs()]]);
      await sleep(pauseMs);
    }
  },
  /** Compiled code is what runs in a process that has lived for some seconds. */
  async warmUp({ ms }: { ms: number }) {
    for (const endNs = nowNs() + ms * 1e6; nowNs() < endNs; await turn()) map.set([[PROBE, nowNs()]]);
  },
  samples() {
    const taken = samples;
    samples = [];
    return taken;
  },

  /** Single writes in quick succession; answers when the first was made. */
  write({ prefix, keys }: { prefix: string; keys: number }) {
    const startNs = nowNs();
    for (let index = 0; index < keys; index++) map.set([[`${prefix}${index}`, VALUE]]);
    return startNs;
  },
  /** The same as one change. */
  writeAtOnce({ prefix, keys }: { prefix: string; keys: number }) {
    map.set(Array.from({ length: keys }, (_, index) => [`${prefix}${index}`, VALUE]));
  },
  /** Answers, at once, that it will tell when there is such a key; `reached` waits for it. */
  expect({ key }: { key: string }) {
    reachedAt = new Promise((resolve) => (awaited = { key, reached: resolve }));
  },
  reached: () => reachedAt,

  /** Many small maps; answers with their ids once they are stored. */
  async fill({ maps }: { maps: number }) {
    const ids: string[] = [];
    for (let index = 0; index < maps; index++) {
      const created = await member.create(`map-${index}`);
      created.map.set(KEYS.map((key) => [key, VALUE]));
      ids.push(created.id);
    }
    await member.flush();
    return ids;
  },
  /** Milliseconds until a process that joins can read them all. */
  async joinAll({ address, ids }: { address: string; ids: readonly string[] }) {
    const startNs = nowNs();
    member = await system.join(address);
    await readable(ids);
    return (nowNs() - startNs) / 1e6;
  },
  /** Milliseconds until a process that starts on what is stored can read them all. */
  async startAll({ directory, ids }: { directory: string; ids: readonly string[] }) {
    const startNs = nowNs();
    member = await system.host(directory);
    await readable(ids);
    return (nowNs() - startNs) / 1e6;
  },

  disconnect: () => member.disconnect(),
  connect: () => member.connect(),
});
