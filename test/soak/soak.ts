import { type AddressInfo, createServer } from "node:net";
import { gCounter, lwwMap } from "@coppice/crdt";
import { type Node, type PeerStatus, createNode } from "@coppice/replication";
import { type Libp2pTransportOptions, libp2pTransport } from "@coppice/replication/libp2p";
import { LoopbackProxy } from "../support/loopback-proxy.ts";

/** A measurement, after garbage collection. */
export interface Figures {
  readonly broken: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** Sockets, timers and other things that the process holds open, by kind. */
  readonly handles: ReadonlyMap<string, number>;
  readonly msPerLink: number;
  readonly sentBytes: number;
}

export interface SoakReport {
  readonly first: Figures;
  readonly last: Figures;
  /** Slope of the heap over the second half of the measurements. */
  readonly bytesPerReconnect: number;
  /** How many links were broken in which way. */
  readonly broken: ReadonlyMap<string, number>;
  readonly areEqual: boolean;
}

export interface SoakOptions {
  readonly reconnects: number;
  readonly seconds: number;
  collectGarbage(): void;
  onFigures(figures: Figures): void;
}

const HEARTBEAT_MS = 40;
const LINK_MS_MAX = 15_000;
const MEASUREMENTS = 20;
/** Keys that are overwritten, so that contents do not grow with the run. */
const KEYS = 16;
const VALUE = "x".repeat(2_000);

const notes = lwwMap<string>();

/**
 * Two nodes in one process, over TCP on loopback with a proxy between them. Each round writes on both sides, breaks the
 * link in one of the ways below, and waits for the next.
 */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const port = await freePort();
  await using proxy = await LoopbackProxy.open(0, port);
  // It announces the proxy, or the dialler would learn the way around it.
  const announce = [`/ip4/127.0.0.1/tcp/${proxy.port}`];
  await using listener = await start("listener", { listen: [`/ip4/127.0.0.1/tcp/${port}`], announce });
  await using dialler = await start("dialler", { listen: ["/ip4/127.0.0.1/tcp/0"] });
  const round = await Round.begin(dialler, listener, proxy);
  const broken = new Map<string, number>();
  const measurements: Figures[] = [];
  const end = performance.now() + options.seconds * 1_000;
  const every = Math.max(1, Math.floor(options.reconnects / MEASUREMENTS));
  let since = performance.now();
  for (let count = 1; count <= options.reconnects && performance.now() < end; count++) {
    const kind = await round.run(count);
    broken.set(kind, (broken.get(kind) ?? 0) + 1);
    if (count % every !== 0) continue;
    const msPerLink = (performance.now() - since) / every;
    measurements.push(await measure(options, count, msPerLink, round.sentBytes));
    options.onFigures(measurements.at(-1) as Figures);
    since = performance.now();
  }
  const areEqual = await round.converge();
  const [first, last] = [measurements[0], measurements.at(-1)];
  if (first === undefined || last === undefined) throw new Error("too little time for a single measurement");
  return { first, last, bytesPerReconnect: slopeOf(measurements), broken, areEqual };
}

async function start(name: string, options: Libp2pTransportOptions): Promise<Node> {
  return await createNode({
    types: [gCounter, notes],
    transport: libp2pTransport({
      allow: "any",
      heartbeatMs: HEARTBEAT_MS,
      inboundConnectionsPerSecond: 10_000,
      ...options,
    }),
    syncIntervalMs: 1_000,
    peerExchange: false,
    // Full before the first measurement, or the events kept for peers would look like a leak.
    limits: { tailBytesMax: 4096 },
    onNotice: ({ code, message }) => {
      if (!EXPECTED.has(code)) console.log(`${name}: ${message} (${code})`);
    },
  });
}

/** What breaking links leads to. */
const EXPECTED = new Set(["DIAL_FAILED", "NOT_ADMITTED"]);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = (server.address() as AddressInfo).port;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

type Break = readonly [kind: string, breakIt: () => Promise<void>];

class Round {
  readonly #dialler: Node;
  readonly #listener: Node;
  readonly #proxy: LoopbackProxy;
  readonly #address: string;
  readonly #replicas: { readonly counter: Counter; readonly notes: Notes }[] = [];
  #sentBytes = 0;
  /** Links that each side has lost: it may have the next one by the time somebody looks. */
  readonly #lost = new Map<Node, number>();

  static async begin(dialler: Node, listener: Node, proxy: LoopbackProxy): Promise<Round> {
    const round = new Round(dialler, listener, proxy);
    await round.#connect();
    for (const node of [dialler, listener]) round.#replicas.push(await openAll(node));
    return round;
  }

  private constructor(dialler: Node, listener: Node, proxy: LoopbackProxy) {
    this.#dialler = dialler;
    this.#listener = listener;
    this.#proxy = proxy;
    for (const node of [dialler, listener]) {
      node.onPeer((event) => void (event === "leave" && this.#lost.set(node, this.#lostBy(node) + 1)));
    }
    this.#address = `/ip4/127.0.0.1/tcp/${proxy.port}/p2p/${listener.id}`;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** Writes, breaks the link, and brings up the next; returns how it was broken. */
  async run(count: number): Promise<string> {
    const [kind, breakIt] = this.#breaks[count % this.#breaks.length] as Break;
    for (const { counter, notes: map } of this.#replicas) {
      counter.mutate((mutator) => mutator.increment(1));
      map.mutate((mutator) => mutator.set(String(count % KEYS), `${count} ${VALUE}`));
    }
    this.#sentBytes += this.#dialler.peers()[0]?.bytesOut ?? 0;
    const [byDialler, byListener] = [this.#lostBy(this.#dialler), this.#lostBy(this.#listener)];
    await breakIt();
    await until(`the dialler has lost its link (${kind})`, () => this.#lostBy(this.#dialler) > byDialler);
    await until(`the listener has lost its link (${kind})`, () => this.#lostBy(this.#listener) > byListener);
    this.#proxy.heal();
    await this.#connect();
    return kind;
  }

  readonly #breaks: readonly Break[] = [
    ["goodbye of the dialler", () => this.#dialler.disconnect(this.#listener.id)],
    ["goodbye of the listener", () => this.#listener.disconnect(this.#dialler.id)],
    ["reset", async () => this.#proxy.reset()],
    ["reset amid an answer", () => this.#resetAmidAnAnswer()],
    ["half-open, noticed by silence", async () => this.#proxy.cut()],
    ["dials in vain", () => this.#dialInVain()],
    ["goodbye, then dials from both sides at once", () => this.#dialFromBothSides()],
  ];

  async #resetAmidAnAnswer(): Promise<void> {
    const [here] = this.#replicas;
    for (let key = 0; key < KEYS; key++) here?.notes.mutate((mutator) => mutator.set(String(key), VALUE));
    await new Promise((resolve) => setImmediate(resolve));
    this.#proxy.reset();
  }

  /** Dials that end before they have led anywhere. */
  async #dialInVain(): Promise<void> {
    await this.#dialler.disconnect(this.#listener.id);
    const signal = AbortSignal.timeout(2);
    await this.#dialler.connect(this.#address, { signal }).catch(() => {});
    await this.#dialler.connect("/ip4/127.0.0.1/tcp/1").catch(() => {});
  }

  async #dialFromBothSides(): Promise<void> {
    await this.#dialler.disconnect(this.#listener.id);
    const [back = ""] = this.#dialler.addresses();
    const signal = AbortSignal.timeout(LINK_MS_MAX);
    const dials = [this.#dialler.connect(this.#address, { signal }), this.#listener.connect(back, { signal })];
    await Promise.all(dials);
    // From here on the next round's link is the dialler's business again.
    const lost = this.#lostBy(this.#dialler);
    await this.#listener.disconnect(this.#dialler.id);
    await until("the dialler has lost the link of both", () => this.#lostBy(this.#dialler) > lost);
  }

  async #connect(): Promise<void> {
    await this.#dialler.connect(this.#address, { signal: AbortSignal.timeout(LINK_MS_MAX) });
    const ends = [this.#dialler, this.#listener];
    await until("both sides are linked", () => ends.every((node) => this.#peerOf(node) !== undefined));
  }

  #lostBy(node: Node): number {
    return this.#lost.get(node) ?? 0;
  }

  #peerOf(node: Node): PeerStatus | undefined {
    return node.peers()[0];
  }

  /** Whether both hold the same in the end. */
  async converge(): Promise<boolean> {
    const [here, there] = this.#replicas;
    if (here === undefined || there === undefined) return false;
    const areEqual = (): boolean =>
      here.counter.digest() === there.counter.digest() && here.notes.digest() === there.notes.digest();
    await until("both nodes hold the same", areEqual).catch(() => {});
    return areEqual();
  }
}

type Counter = Awaited<ReturnType<typeof openAll>>["counter"];
type Notes = Awaited<ReturnType<typeof openAll>>["notes"];

// oxlint-disable-next-line typescript/explicit-function-return-type -- the replicas' types are inferred
async function openAll(node: Node) {
  return { counter: await node.open("count", gCounter), notes: await node.open("notes", notes) };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = performance.now() + LINK_MS_MAX; !holds();) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function measure(
  { collectGarbage }: SoakOptions,
  broken: number,
  msPerLink: number,
  sentBytes: number,
): Promise<Figures> {
  // Sockets that close take a few turns; what they held is free after that.
  await new Promise((resolve) => setTimeout(resolve, 100));
  collectGarbage();
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  const { heapUsed: heapBytes, external: externalBytes } = process.memoryUsage();
  const handles = new Map<string, number>();
  // What is done at the end of the turn is no handle.
  const lasting = process.getActiveResourcesInfo().filter((kind) => kind !== "Immediate");
  for (const kind of lasting) handles.set(kind, (handles.get(kind) ?? 0) + 1);
  return { broken, heapBytes, externalBytes, handles, msPerLink, sentBytes };
}

/** Least squares over the second half: the first is still warming up. */
function slopeOf(measurements: readonly Figures[]): number {
  const points = measurements.slice(Math.floor(measurements.length / 2));
  const meanX = points.reduce((sum, { broken }) => sum + broken, 0) / points.length;
  const meanY = points.reduce((sum, { heapBytes }) => sum + heapBytes, 0) / points.length;
  let covariance = 0;
  let variance = 0;
  for (const { broken, heapBytes } of points) {
    covariance += (broken - meanX) * (heapBytes - meanY);
    variance += (broken - meanX) ** 2;
  }
  return variance === 0 ? 0 : covariance / variance;
}
