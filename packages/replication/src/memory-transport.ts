import { ReplicationError } from "./error.ts";
import type { MemoryFaults } from "./memory-lane.ts";
import { MemoryFabric, type EndSeed, type Schedule, type Wire, type WireEnd } from "./memory-network.ts";
import { type OptionNames, checkNames } from "./option-checks.ts";
import {
  type DiscoverySource,
  FRAME_BYTES_MAX,
  type Link,
  type LinkEnd,
  type PeerId,
  type Transport,
  type TransportContext,
} from "./transport.ts";

export type { MemoryFaults } from "./memory-lane.ts";
export type { Schedule } from "./memory-network.ts";

/** Options of {@link createMemoryNetwork}. */
export interface MemoryNetworkOptions {
  /** Seeds every random choice; the same seed, schedule and calls give the same run. 1 by default. */
  readonly seed?: number;
  /** The clock. By default real timers, and `setImmediate` for a delay of 0. */
  readonly schedule?: Schedule;
  /** Faults on every link from the start; none by default. */
  readonly faults?: Partial<MemoryFaults>;
  /** Whether nodes dial members that their peers tell of. By default not: links are those that a test lays. */
  readonly peerExchange?: boolean;
  /** Silence after which an end gives a link up; 5 000 by default. */
  readonly halfOpenMs?: number;
  /** First and longest pause between redials; 100 and 5 000 by default. */
  readonly redialMs?: readonly [first: number, max: number];
}

/** Options of one transport on a memory network. */
export interface MemoryTransportOptions {
  /** Names that may dial this one; `"any"` by default. Whom it dials itself is always admitted. */
  readonly allow?: readonly string[] | "any";
}

/** A network inside one process, for tests and simulations. */
export interface MemoryNetwork {
  /** A transport for the node `name`, dialled at `memory:/name`. Once one has stopped or crashed, the next may start. */
  transport(name: string, options?: MemoryTransportOptions): Transport;
  /** Changes faults everywhere, or in one direction of one link; the latter override the former. */
  setFaults(faults: Partial<MemoryFaults>): void;
  setFaults(faults: Partial<MemoryFaults>, from: string, to: string): void;
  clearFaults(): void;
  /** Swallows everything from `from` to `to`, and by default the other way too. */
  partition(from: string, to: string, options?: { oneWay?: boolean }): void;
  /** Undoes partitions between two nodes, or all of them. */
  heal(a?: string, b?: string): void;
  /** Resets the link between two nodes, if there is one. */
  reset(a: string, b: string): void;
  /**
   * Drops the transport without goodbye, and calls nothing on it any more. Its peers see a reset, as from a killed
   * process; with `silent` they see nothing, as from a host without power.
   */
  crash(name: string, options?: { silent?: boolean }): void;
}

const NETWORK_OPTIONS: OptionNames<MemoryNetworkOptions> = {
  seed: true,
  schedule: true,
  faults: true,
  halfOpenMs: true,
  peerExchange: true,
  redialMs: true,
};

/** Creates an empty network, which holds nothing open once its transports have stopped. */
export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  checkNames("createMemoryNetwork", options, NETWORK_OPTIONS);
  const { seed = 1, schedule = scheduleReally, faults = {}, halfOpenMs = 5_000, redialMs = [100, 5_000] } = options;
  const { peerExchange = false } = options;
  const fabric = new MemoryFabric(schedule, randomFrom(seed), halfOpenMs, faults);
  const running: Running = new Map();
  return {
    transport: (name, own = {}) => {
      checkNames("transport", own, { allow: true });
      return new MemoryTransport({ name, allow: own.allow ?? "any", fabric, running, redialMs, peerExchange });
    },
    setFaults: (changes: Partial<MemoryFaults>, from?: string, to?: string) => fabric.setFaults(changes, from, to),
    clearFaults: () => fabric.clearFaults(),
    partition(from, to, { oneWay = false } = {}) {
      fabric.block(from, to);
      if (!oneWay) fabric.block(to, from);
    },
    heal(a, b) {
      if (a === undefined || b === undefined) return fabric.unblockAll();
      fabric.unblock(a, b);
      fabric.unblock(b, a);
    },
    reset(a, b) {
      const wire = fabric.find(a, b);
      if (wire === undefined) return;
      fabric.end(wire.dialler, "reset", "nothing");
      fabric.end(wire.acceptor, "reset", "nothing");
    },
    crash: (name, { silent = false } = {}) => running.get(name)?.crash(silent),
  };
}

type Running = Map<string, MemoryTransport>;

interface Setup {
  readonly name: string;
  readonly allow: readonly string[] | "any";
  readonly fabric: MemoryFabric;
  readonly running: Running;
  readonly redialMs: readonly [first: number, max: number];
  readonly peerExchange: boolean;
}

interface Dial {
  readonly peer: string;
  /** Waiting `connect` calls. */
  readonly waiters: Set<{ resolve(link: Link): void; reject(error: unknown): void }>;
  /** Whether the address has been reached once and is redialled from then on. */
  kept: boolean;
  /** Nobody wants it but for a hint, and it has led nowhere yet. */
  isHint: boolean;
  busy: boolean;
  failures: number;
  lastCode: string | undefined;
}

/** Failures after which a hint is forgotten. */
const HINT_FAILURES_MAX = 10;
const ADDRESS = /^memory:\/(.+)$/;

class MemoryTransport implements Transport {
  readonly #setup: Setup;
  #state: "new" | "running" | "stopped" = "new";
  #context: TransportContext | undefined;
  readonly #ends = new Map<PeerId, WireEnd>();
  readonly #dials = new Map<string, Dial>();
  readonly #timers = new Set<() => void>();

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  async start(context: TransportContext, { signal }: { signal?: AbortSignal } = {}): Promise<PeerId> {
    const { name, running } = this.#setup;
    signal?.throwIfAborted();
    if (this.#state !== "new") throw new TypeError("a transport starts once");
    if (running.has(name)) throw new TypeError(`a transport named ${name} is running: stop or crash it first`);
    this.#state = "running";
    this.#context = context;
    running.set(name, this);
    return name;
  }

  addresses(): readonly string[] {
    return this.#state === "running" ? [`memory:/${this.#setup.name}`] : [];
  }

  send(link: Link, frame: Uint8Array): boolean {
    if (frame.length > FRAME_BYTES_MAX) {
      throw new ReplicationError("FRAME_TOO_LARGE", `a frame of ${frame.length} bytes is over ${FRAME_BYTES_MAX}`);
    }
    return this.#endOf(link)?.out.send(frame) ?? true;
  }

  pause(link: Link): void {
    this.#endOf(link)?.in.pause();
  }

  resume(link: Link): void {
    this.#endOf(link)?.in.resume();
  }

  async connect(address: string, { signal }: { signal?: AbortSignal } = {}): Promise<Link> {
    signal?.throwIfAborted();
    const peer = ADDRESS.exec(address)?.[1];
    if (peer === undefined) {
      throw new ReplicationError(
        "BAD_ADDRESS",
        `${JSON.stringify(address)} is no address here; one looks like memory:/name`,
      );
    }
    if (this.#state !== "running") throw new ReplicationError("CLOSED", "the transport is not running");
    const dial = this.#dialTo(peer);
    dial.isHint = false;
    const standing = this.#ends.get(peer);
    if (standing !== undefined) {
      dial.kept = true;
      return standing.link;
    }
    return new Promise<Link>((resolve, reject) => {
      const forget = (): void => {
        dial.waiters.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter = {
        resolve: (link: Link): void => (forget(), resolve(link)),
        reject: (error: unknown): void => (forget(), reject(error)),
      };
      const onAbort = (): void => {
        waiter.reject(signal?.reason);
        if (!dial.kept && dial.waiters.size === 0) this.#dials.delete(peer);
      };
      signal?.addEventListener("abort", onAbort);
      dial.waiters.add(waiter);
      this.#attempt(dial);
    });
  }

  discovered(addresses: readonly string[], source: DiscoverySource): void {
    if (source === "peers" && !this.#setup.peerExchange) return;
    for (const address of addresses) {
      const peer = ADDRESS.exec(address)?.[1];
      if (peer === undefined || peer === this.#setup.name || this.#dials.has(peer) || this.#ends.has(peer)) continue;
      const dial = this.#dialTo(peer);
      dial.kept = true;
      dial.isHint = true;
      this.#attempt(dial);
    }
  }

  async disconnect(peer: PeerId): Promise<void> {
    const dial = this.#dials.get(peer);
    this.#dials.delete(peer);
    this.#reject(dial, new ReplicationError("DIAL_FAILED", `disconnected from ${peer} while dialling it`));
    const end = this.#ends.get(peer);
    if (end !== undefined) this.#setup.fabric.end(end, "closed", "goodbye");
  }

  async stop(): Promise<void> {
    this.#halt("goodbye");
  }

  crash(silent: boolean): void {
    this.#context = undefined;
    this.#halt(silent ? "nothing" : "reset");
  }

  /** Another transport's dial has arrived; answers the wire, or why there is none. */
  accept(caller: MemoryTransport, callerContext: TransportContext): Wire | "refused" | "existing" {
    const { allow, fabric, name } = this.#setup;
    const from = caller.#setup.name;
    if (allow !== "any" && !allow.includes(from) && !this.#dials.has(from)) {
      this.#notice("NOT_ADMITTED", `refused ${from}: add it to \`allow\``, from);
      return "refused";
    }
    const wire = fabric.find(name, from);
    if (wire !== undefined) return "existing";
    const stale = this.#ends.get(from);
    if (stale !== undefined) fabric.end(stale, "superseded", "nothing");
    const link: Link = { peer: from, incarnation: callerContext.incarnation, addresses: caller.addresses() };
    const fresh = fabric.connect(caller.#seed(this.#link()), this.#seed(link));
    this.#up(fresh.acceptor);
    return fresh;
  }

  #link(): Link {
    return { peer: this.#setup.name, incarnation: this.#context?.incarnation ?? "", addresses: this.addresses() };
  }

  #seed(link: Link): EndSeed {
    return {
      name: this.#setup.name,
      link,
      onFrame: (frame) => this.#context?.events.frame(link, frame),
      onDrained: () => this.#context?.events.drained(link),
      onEnd: (reason) => this.#onEnd(link, reason),
    };
  }

  #endOf(link: Link): WireEnd | undefined {
    const end = this.#ends.get(link.peer);
    return end?.link === link ? end : undefined;
  }

  #up(end: WireEnd): void {
    end.state = "up";
    this.#ends.set(end.link.peer, end);
    this.#context?.events.linkUp(end.link);
    // What the other side has sent since its own linkUp waited in the lane.
    if (end.state === "up") end.in.resume();
    const dial = this.#dials.get(end.link.peer);
    if (dial === undefined) return;
    Object.assign(dial, { kept: true, isHint: false, failures: 0, lastCode: undefined });
    for (const waiter of dial.waiters) waiter.resolve(end.link);
  }

  #onEnd(link: Link, reason: LinkEnd): void {
    if (this.#ends.get(link.peer)?.link === link) this.#ends.delete(link.peer);
    this.#context?.events.linkDown(link, reason);
    const dial = this.#dials.get(link.peer);
    if (dial !== undefined) this.#redial(dial);
  }

  #dialTo(peer: string): Dial {
    const known = this.#dials.get(peer);
    if (known !== undefined) return known;
    const dial: Dial = {
      peer,
      waiters: new Set(),
      kept: false,
      isHint: false,
      busy: false,
      failures: 0,
      lastCode: undefined,
    };
    this.#dials.set(peer, dial);
    return dial;
  }

  /** One message there and one back; a wire comes up here when the second arrives. */
  #attempt(dial: Dial): void {
    const { fabric, running, name } = this.#setup;
    const { peer } = dial;
    if (dial.busy || this.#dials.get(peer) !== dial || this.#ends.has(peer)) return;
    dial.busy = true;
    this.#later(fabric.delayMs(name, peer), () => {
      const listener = running.get(peer);
      const context = this.#context;
      if (listener === undefined || listener === this || context === undefined || this.#isCut(peer)) {
        return this.#failed(dial, "DIAL_FAILED", `nobody answers at memory:/${peer}`);
      }
      // An abandoned dial must not leave a link at the other side.
      if (this.#dials.get(peer) !== dial) return;
      const answer = listener.accept(this, context);
      this.#later(fabric.delayMs(peer, name), () => this.#answered(dial, answer));
    });
  }

  #isCut(peer: string): boolean {
    const { fabric, name } = this.#setup;
    return fabric.isBlocked(name, peer) || fabric.isBlocked(peer, name);
  }

  #answered(dial: Dial, answer: Wire | "refused" | "existing"): void {
    const { fabric } = this.#setup;
    const { peer } = dial;
    if (answer === "refused") return this.#failed(dial, "NOT_ADMITTED", `${peer} does not admit this node`);
    if (answer === "existing") {
      // The other side's dial was first: its answer brings the link up, unless it gets lost.
      dial.busy = false;
      if (!this.#ends.has(peer)) this.#redial(dial);
      return;
    }
    dial.busy = false;
    if (this.#dials.get(peer) !== dial || answer.acceptor.state === "ended" || this.#isCut(peer)) {
      fabric.end(answer.dialler, "closed", "reset");
      return this.#failed(dial, "DIAL_FAILED", `the link to memory:/${peer} broke while it was made`);
    }
    const stale = this.#ends.get(peer);
    if (stale !== undefined) fabric.end(stale, "superseded", "nothing");
    this.#up(answer.dialler);
  }

  #failed(dial: Dial, code: "DIAL_FAILED" | "NOT_ADMITTED", message: string): void {
    dial.busy = false;
    if (this.#dials.get(dial.peer) !== dial) return;
    if (dial.isHint) dial.kept = dial.failures < HINT_FAILURES_MAX;
    else if (dial.lastCode !== code) this.#notice(code, message, dial.peer);
    dial.lastCode = code;
    if (!dial.kept) this.#dials.delete(dial.peer);
    this.#reject(dial, new ReplicationError(code, message));
    if (dial.kept) this.#redial(dial);
  }

  #reject(dial: Dial | undefined, error: Error): void {
    for (const waiter of dial?.waiters ?? []) waiter.reject(error);
  }

  #redial(dial: Dial): void {
    const [first, max] = this.#setup.redialMs;
    const longest = Math.min(max, first * 2 ** Math.min(dial.failures++, 16));
    this.#later(longest * (0.5 + this.#setup.fabric.random() / 2), () => this.#attempt(dial));
  }

  #later(delayMs: number, run: () => void): void {
    const undo = this.#setup.fabric.later(delayMs, () => {
      this.#timers.delete(undo);
      if (this.#state === "running") run();
    });
    this.#timers.add(undo);
  }

  #notice(code: string, message: string, peer: string): void {
    this.#context?.events.notice(code, message, peer);
  }

  #halt(tellPeers: "goodbye" | "reset" | "nothing"): void {
    if (this.#state === "stopped") return;
    const { fabric, running, name } = this.#setup;
    this.#state = "stopped";
    if (running.get(name) === this) running.delete(name);
    for (const undo of this.#timers) undo();
    this.#timers.clear();
    const dials = [...this.#dials.values()];
    this.#dials.clear();
    for (const dial of dials) this.#reject(dial, new ReplicationError("CLOSED", "the transport has stopped"));
    fabric.endAll(name, "stopped", tellPeers);
    this.#context = undefined;
  }
}

function scheduleReally(delayMs: number, run: () => void): () => void {
  if (delayMs <= 0 && typeof setImmediate === "function") {
    const immediate = setImmediate(run);
    return () => clearImmediate(immediate);
  }
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
}

/** Mulberry32: small, fast, and good enough to choose faults. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
