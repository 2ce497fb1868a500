import { createNode, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { libp2pTransport } from "coppice/libp2p";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inDirectory } from "./directory.ts";
import { type Figure, median, nowNs, quantile, turn } from "./figure.ts";
import { createRawNode } from "./raw-libp2p.ts";
import { GROUP, PROBE } from "./shared.ts";
import { Worker } from "./worker.ts";

const ROUNDS = 3;
const PROBES = 400;
/** In quick succession: compiled code is what runs in a process that has lived for some seconds. */
const WARM_UP_PROBES = 10_000;
/** Between two probes everything is at rest. */
const PAUSE_MS = 2;
const WRITES = 20_000;
/** Writes of which each is alone in its turn of the event loop. */
const TICKED_WRITES = 4_000;
const BURSTS = 3;
const VALUE = "value678";
/** About what a write of such a key takes on the wire. */
const MESSAGE_BYTES = 30;

/** Nanoseconds from the sending of each probe until it is seen in the other process. */
async function probes(worker: Worker, send: () => void): Promise<number[]> {
  const run = async (count: number, pause: () => Promise<void>): Promise<number[]> => {
    for (let index = 0; index < count; index++) {
      send();
      await pause();
    }
    const samples: number[] = [];
    // Until nothing more comes: what is still under way would hold up the next.
    for (let more = [0]; more.length > 0; samples.push(...more)) {
      await sleep(50);
      more = await worker.ask<number[]>("samples");
    }
    return samples;
  };
  await run(WARM_UP_PROBES, turn);
  return await run(PROBES, () => sleep(PAUSE_MS));
}

interface Round {
  readonly oneWayNs: readonly number[];
  /** Nanoseconds of each burst of writes. */
  readonly burstsNs: readonly number[];
  readonly tickedNs: readonly number[];
}

/** A link from this process to another, both with nodes of this kind. */
async function ours(path: string | undefined): Promise<Round> {
  using worker = new Worker();
  const data = (name: string): object => (path === undefined ? {} : { data: join(path, name) });
  const address = await worker.ask<string>("listen", data("listener"));
  await using node = await createNode({
    types: [lwwMap()],
    ...(path !== undefined && { storage: levelStorage(join(path, "dialler")) }),
    transport: libp2pTransport({ peers: [address] }),
  });
  const replica = await node.open(GROUP, lwwMap<number | string>());
  await node.connect(address);
  await replica.synced();
  const oneWayNs = await probes(worker, () => void replica.mutate((map) => map.set(PROBE, nowNs())));
  const bursts = async (
    name: string,
    writes: number,
    afterEach: () => Promise<void> | undefined,
  ): Promise<number[]> => {
    const times: number[] = [];
    for (let burst = 0; burst <= BURSTS; burst++) {
      await worker.ask("expect", { events: replica.status.events + writes });
      const startNs = nowNs();
      for (let index = 0; index < writes; index++) {
        replica.mutate((map) => map.set(`${name}${burst}-${index}`, VALUE));
        const pause = afterEach();
        if (pause !== undefined) await pause;
      }
      times.push((await worker.ask<number>("reached")) - startNs);
    }
    // The first one warms up.
    return times.slice(1);
  };
  return {
    oneWayNs,
    burstsNs: await bursts("b", WRITES, () => undefined),
    tickedNs: await bursts("t", TICKED_WRITES, turn),
  };
}

/** One libp2p stream: messages of eight bytes at rest, and as many as our writes that are each alone in their turn. */
async function rawStream(): Promise<{ readonly oneWayNs: readonly number[]; readonly tickedNs: number }> {
  using worker = new Worker();
  const address = await worker.ask<string>("listenRaw");
  const node = await createRawNode();
  const stream = await node.dial(address);
  let sentNs = 0;
  const send = (): void => {
    const bytes = new Uint8Array(8);
    sentNs = nowNs();
    new DataView(bytes.buffer).setFloat64(0, sentNs);
    stream.send(bytes);
  };
  const oneWayNs = await probes(worker, send);
  const startNs = nowNs();
  for (let index = 0; index < TICKED_WRITES; index++) {
    send();
    await turn();
  }
  let last: number | undefined;
  for (let seen = 0; seen < TICKED_WRITES;) {
    const samples = await worker.ask<number[]>("samples");
    seen += samples.length;
    last = samples.at(-1) ?? last;
  }
  await node.stop();
  return { oneWayNs, tickedNs: sentNs + (last ?? 0) - startNs };
}

/** The same number of messages over TCP, a write each. */
async function rawTcp(): Promise<number[]> {
  using worker = new Worker();
  const message = new Uint8Array(MESSAGE_BYTES);
  const times: number[] = [];
  for (let burst = 0; burst <= BURSTS; burst++) {
    const port = await worker.ask<number>("listenTcp", { bytes: WRITES * MESSAGE_BYTES });
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("error", () => undefined);
    await once(socket, "connect");
    const startNs = nowNs();
    for (let index = 0; index < WRITES; index++) socket.write(message);
    times.push((await worker.ask<number>("reached")) - startNs);
    socket.destroy();
  }
  return times.slice(1);
}

/** How fast single writes reach another process over libp2p, at rest and in a flood. */
export async function propagation(): Promise<Figure[]> {
  const rounds: { memory: Round; log: Round; raw: Awaited<ReturnType<typeof rawStream>>; tcpNs: readonly number[] }[] =
    [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({
      memory: await ours(undefined),
      log: await inDirectory(ours),
      raw: await rawStream(),
      tcpNs: await rawTcp(),
    });
  }
  const ms = (fraction: number, of: (round: (typeof rounds)[number]) => readonly number[]): number =>
    median(rounds.map((round) => quantile(of(round), fraction))) / 1e6;
  const perSecond = (of: (round: (typeof rounds)[number]) => readonly number[], writes = WRITES): number =>
    (writes * 1e9) / median(rounds.flatMap(of));
  const figures: Figure[] = [];
  for (const [measures, mode] of [
    ["replica in memory", "memory"],
    ["mode log", "log"],
  ] as const) {
    const p50 = ms(0.5, (round) => round[mode].oneWayNs);
    const raw = ms(0.5, (round) => round.raw.oneWayNs);
    const keys = perSecond((round) => round[mode].burstsNs);
    figures.push(
      {
        name: "one write visible in another process, p50",
        measures,
        value: p50,
        unit: "ms",
        raw: { name: "ms libp2p stream", value: raw },
        ...(mode === "memory" && { goal: { text: "<= 3.25 x raw", isMet: p50 <= 3.25 * raw } }),
      },
      {
        name: "one write visible in another process, p99",
        measures,
        value: ms(0.99, (round) => round[mode].oneWayNs),
        unit: "ms",
        raw: { name: "ms libp2p stream", value: ms(0.99, (round) => round.raw.oneWayNs) },
      },
      {
        name: "20 000 single writes to a peer",
        measures,
        value: keys,
        unit: "keys/s",
        raw: { name: "/s TCP, a write each", value: perSecond(({ tcpNs }) => tcpNs) },
        ...(mode === "memory" && { goal: { text: ">= 100 000 keys/s", isMet: keys >= 100_000 } }),
      },
      {
        name: "single writes to a peer, a tick each",
        measures,
        value: perSecond((round) => round[mode].tickedNs, TICKED_WRITES),
        unit: "keys/s",
        raw: {
          name: "/s libp2p stream, a send each",
          value: perSecond((round) => [round.raw.tickedNs], TICKED_WRITES),
        },
      },
    );
  }
  return figures;
}
