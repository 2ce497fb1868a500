// A program on a node, in a process of its own: it writes at random until it is told to be quiet, or killed. Uses the
// public packages only, as any program would.
import {
  type AckLevel,
  type MutatorOf,
  type Node,
  type Replica,
  createNode,
  gCounter,
  lwwMap,
  orLog,
  orMap,
  orSet,
  struct,
} from "coppice";
import { levelStorage } from "coppice/level";
import { libp2pTransport } from "coppice/libp2p";
import { Random } from "../simulation/random.ts";
import type { GroupState } from "./checker.ts";
import { KINDS, type Kind, Ledger, type Level, type Wish } from "./ledger.ts";

export interface ProgramOptions {
  /** Names the process: it stands in every key that it writes. */
  readonly name: string;
  readonly data: string;
  readonly ledger: string;
  readonly seed: number;
  readonly chapter: number;
  readonly durability: "snapshot" | "log" | "sync";
  readonly snapshotIntervalMs: number;
  readonly listen: string;
  readonly announce: string;
  readonly peers: readonly string[];
}

/** What the cluster tells a program. */
export type Order =
  | { readonly order: "chapter"; readonly chapter: number }
  | { readonly order: "clock"; readonly offsetMs: number }
  | { readonly order: "quiet" }
  | { readonly order: "states"; readonly chapter: number }
  | { readonly order: "close" };

/** What a program tells the cluster. */
export type Told =
  | { readonly told: "started" }
  | { readonly told: "writes"; readonly count: number }
  | { readonly told: "quiet" }
  | { readonly told: "states"; readonly states: readonly (readonly [Kind, GroupState])[] }
  | { readonly told: "notice"; readonly code: string; readonly message: string }
  | { readonly told: "failed"; readonly message: string };

const types = {
  map: lwwMap<string>(),
  total: gCounter,
  words: orMap(gCounter),
  book: struct({ entries: lwwMap<string>(), count: gCounter }),
  set: orSet<string>(),
  log: orLog<string>(),
};

const WORDS = ["a", "b", "c"];
const ACK_TIMEOUT_MS = 3000;
const TELL_EVERY = 8;

class Program {
  readonly #options: ProgramOptions;
  readonly #node: Node;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #open = new Map<string, Promise<Replica<unknown, unknown, unknown>>>();
  /** Elements that this process has added and not removed. */
  #mine: { readonly chapter: number; readonly key: string }[] = [];
  #chapter: number;
  #count = 0;
  #isQuiet = false;
  readonly #writers: Promise<void>[] = [];

  constructor(options: ProgramOptions, node: Node) {
    this.#options = options;
    this.#node = node;
    this.#chapter = options.chapter;
    this.#random = new Random(options.seed, options.name);
    this.#ledger = new Ledger(options.ledger);
  }

  /** Several writers at once, so that commits hold several events and others gather behind them. */
  start(): void {
    this.#isQuiet = false;
    const writers = 1 + this.#random.int(4);
    for (let left = writers; left > 0; left--) this.#writers.push(this.#writeOn());
  }

  async obey(order: Order): Promise<void> {
    switch (order.order) {
      case "chapter":
        await this.#quiet();
        this.#chapter = order.chapter;
        this.#mine = [];
        return this.start();
      case "clock":
        clockOffsetMs = order.offsetMs;
        return;
      case "quiet":
        await this.#quiet();
        return tell({ told: "quiet" });
      case "states":
        return tell({ told: "states", states: await this.#states(order.chapter) });
      case "close":
        await this.#quiet();
        await this.#node.close();
        process.exit(0);
    }
  }

  async #quiet(): Promise<void> {
    this.#isQuiet = true;
    await Promise.all(this.#writers.splice(0));
  }

  #replica(chapter: number, kind: Kind): Promise<Replica<unknown, unknown, unknown>> {
    const key = `${chapter} ${kind}`;
    let replica = this.#open.get(key);
    if (replica === undefined) {
      replica = this.#node.open(["torture", chapter, kind], types[kind] as never);
      this.#open.set(key, replica);
    }
    return replica;
  }

  async #states(chapter: number): Promise<[Kind, GroupState][]> {
    const states: [Kind, GroupState][] = [];
    for (const kind of KINDS) {
      const replica = await this.#replica(chapter, kind);
      states.push([kind, { digest: replica.digest(), contentHash: replica.contentHash(), value: replica.value() }]);
    }
    return states;
  }

  async #writeOn(): Promise<void> {
    while (!this.#isQuiet) {
      const wish = this.#wish();
      const replica = await this.#replica(this.#chapter, wish.kind);
      const [level, ack] = this.#level();
      const id = this.#ledger.wish(this.#chapter, wish);
      try {
        await replica.mutate((mutator) => grant(mutator, wish), { ack, timeoutMs: ACK_TIMEOUT_MS });
        this.#ledger.acknowledged(id, level);
      } catch (error) {
        // Not acknowledged: it may be there or not. The storage is full, the clock is ahead, or a peer did not answer.
        if (!(error instanceof Error) || !("code" in error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      if (++this.#count % TELL_EVERY === 1) tell({ told: "writes", count: this.#count });
      // Not all the time: else nothing but writing happens.
      if (this.#random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, this.#random.int(12)));
    }
  }

  #wish(): Wish {
    const kind = this.#random.pick(KINDS);
    const key = `${this.#options.name}-${this.#count}-${this.#random.int(1e6)}`;
    const amount = 1 + this.#random.int(5);
    if (kind === "total") return { kind, amount };
    if (kind === "words") return { kind, key: this.#random.pick(WORDS), amount };
    if (kind !== "set") return { kind, key };
    const own = this.#mine[0];
    if (own !== undefined && this.#random.chance(0.4)) {
      this.#mine.shift();
      return { kind, key: own.key, remove: true };
    }
    this.#mine.push({ chapter: this.#chapter, key });
    return { kind, key, remove: false };
  }

  #level(): [Level, AckLevel] {
    const durable = this.#options.durability !== "snapshot";
    const kind = this.#random.int(12);
    if (kind === 0) return ["memory", "memory"];
    if (kind === 1) return ["replica", { replicas: 1 }];
    if (kind === 2) return ["durable-replica", { replicas: 1, durable: true }];
    if (!durable) return ["memory", "memory"];
    return this.#options.durability === "sync" && kind < 6 ? ["sync", "sync"] : ["log", "log"];
  }
}

/** Does one wish, as one event. */
function grant(mutator: unknown, wish: Wish): void {
  switch (wish.kind) {
    case "map":
      return (mutator as MutatorOf<typeof types.map>).set(wish.key, wish.key);
    case "total":
      return (mutator as MutatorOf<typeof types.total>).increment(wish.amount);
    case "words":
      return (mutator as MutatorOf<typeof types.words>).at(wish.key).increment(wish.amount);
    case "book": {
      const { entries, count } = mutator as MutatorOf<typeof types.book>;
      entries.set(wish.key, wish.key);
      return count.increment();
    }
    case "log":
      return (mutator as MutatorOf<typeof types.log>).append(wish.key);
    case "set": {
      const set = mutator as MutatorOf<typeof types.set>;
      if (wish.remove) set.delete(wish.key);
      else set.add(wish.key);
    }
  }
}

function tell(message: Told): void {
  process.send?.(message);
}

let clockOffsetMs = 0;

async function main(options: ProgramOptions): Promise<void> {
  const { data, durability, snapshotIntervalMs, listen, announce, peers } = options;
  const node = await createNode({
    types: Object.values(types),
    storage: levelStorage(data),
    transport: libp2pTransport({ listen: [listen], announce: [announce], peers, allow: "any", heartbeatMs: 500 }),
    durability,
    snapshotIntervalMs,
    syncIntervalMs: 500,
    heartbeatMs: 200,
    redialKnownPeers: false,
    peerExchange: false,
    now: () => Date.now() + clockOffsetMs,
    onNotice: ({ code, message }) => tell({ told: "notice", code, message }),
  });
  const program = new Program(options, node);
  process.on("message", (order: Order) => {
    program.obey(order).catch((error: unknown) => {
      tell({ told: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    });
  });
  tell({ told: "started" });
  program.start();
}

// A cluster that is gone wants nothing any more.
process.on("disconnect", () => process.exit());
await main(JSON.parse(process.argv[2] ?? "{}") as ProgramOptions);
