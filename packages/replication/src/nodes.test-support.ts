import { type Actor, type AnyCrdtType, gCounter, lwwMap, lwwRegister, orMap, struct } from "@coppice/crdt";
import { type GroupId, type GroupStorage, encodeGroupId } from "@coppice/storage";
import { expect } from "vitest";
import { packFrames } from "./core/frames.ts";
import { GroupTransaction } from "./core/group-transaction.ts";
import { encodeMessage } from "./core/message-codec.ts";
import { type Message, PROTOCOL_VERSION } from "./core/messages.ts";
import type { Dependency, Run } from "./core/run.ts";
import { RunBuilder } from "./core/run-builder.ts";
import { type MemoryNetwork, type MemoryNetworkOptions, createMemoryNetwork } from "./memory-transport.ts";
import { type Node, createNode } from "./node.ts";
import type { NodeOptions, Notice } from "./node-options.ts";
import type { Link, Transport } from "./transport.ts";

/** A counter per word, a total, and each node's input position, which move together. */
export const words = struct({ words: orMap(gCounter), total: gCounter, position: orMap(lwwRegister<number>()) });
export const notes = lwwMap<string>();
export const ALL_TYPES: readonly AnyCrdtType[] = [gCounter, words, notes];

/** Nodes on one memory network, with what they noticed. */
export class Grove implements AsyncDisposable {
  readonly network: MemoryNetwork;
  readonly notices: Notice[] = [];
  readonly #nodes = new Map<string, Node>();

  constructor(options?: MemoryNetworkOptions) {
    this.network = createMemoryNetwork({ redialMs: [20, 200], ...options });
  }

  /** Starts a node that dials `peers`. */
  async start(name: string, peers: readonly string[] = [], options: Partial<NodeOptions> = {}): Promise<Node> {
    const node = await createNode({
      types: ALL_TYPES,
      transport: this.network.transport(name),
      syncIntervalMs: 200,
      heartbeatMs: 100,
      onNotice: (notice) => void this.notices.push(notice),
      ...options,
    });
    this.#nodes.set(name, node);
    for (const peer of peers) await node.connect(`memory:/${peer}`);
    return node;
  }

  async stop(name: string): Promise<void> {
    const node = this.#nodes.get(name);
    this.#nodes.delete(name);
    await node?.close();
  }

  /** As if its process were killed: the transport is gone at once, and nothing it does reaches anybody any more. */
  crash(name: string): Node | undefined {
    this.network.crash(name);
    const node = this.#nodes.get(name);
    this.#nodes.delete(name);
    return node;
  }

  nodes(): Node[] {
    return [...this.#nodes.values()];
  }

  /** Waits until every node holds the same content of every group. */
  async converged(timeout = 10_000): Promise<void> {
    const contents = (node: Node): Record<string, string> =>
      Object.fromEntries(
        [...node.groups({ deleted: true })]
          .map(({ key, digest }): [string, string] => [key, digest])
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      );
    // oxlint-disable-next-line vitest/no-standalone-expect -- called from tests only
    await expect
      .poll(
        () => {
          const [first, ...others] = this.nodes().map(contents);
          return others.every((other) => JSON.stringify(other) === JSON.stringify(first));
        },
        { timeout, interval: 20 },
      )
      .toBe(true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes().map((node) => node.close()));
  }
}

/** A storage of which some methods are others. */
export function altered(backing: GroupStorage, own: Partial<GroupStorage>): GroupStorage {
  return new Proxy(backing, {
    get(target, name) {
      const value: unknown = Reflect.get(own, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Something that everything waits for until it is opened. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** A peer that says what a test makes it say, and answers nothing. */
export class Ghost {
  readonly #transport: Transport;
  readonly #links: Link[] = [];
  #fragments = 0;

  constructor(grove: Grove, name: string) {
    this.#transport = grove.network.transport(name);
  }

  /** Links to a node and says hello. */
  async haunt(peer: string): Promise<void> {
    const nothing = (): void => {};
    await this.#transport.start({
      incarnation: "0123456789abcdef",
      readSecret: async () => undefined,
      writeSecret: async () => {},
      events: {
        linkUp: (link) => void this.#links.push(link),
        linkDown: nothing,
        frame: nothing,
        drained: nothing,
        notice: nothing,
      },
    });
    await this.#transport.connect(`memory:/${peer}`);
    this.say({ kind: "hello", protocol: PROTOCOL_VERSION, heard: true, domains: undefined });
  }

  say(...messages: readonly Message[]): void {
    for (const frame of packFrames(messages.map(encodeMessage), () => this.#fragments++)) {
      for (const link of this.#links) this.#transport.send(link, frame);
    }
  }

  leave(): Promise<void> {
    return this.#transport.stop();
  }
}

/** Increments of a counter by an actor, from event `firstSeq` on. */
export function increments(
  actor: Actor,
  firstSeq: number,
  count: number,
  dependencies: readonly Dependency[] = [],
  amount = 1,
): Run {
  const builder = new RunBuilder();
  const transaction = new GroupTransaction(builder);
  const mutator = gCounter.mutator(gCounter.create(), transaction);
  for (let seq = 1; seq < firstSeq + count; seq++) {
    transaction.time = seq;
    transaction.start(actor, seq, undefined);
    mutator.increment(amount);
    transaction.commit();
    if (seq < firstSeq) builder.deltas.reset();
    else builder.add(transaction, seq === firstSeq ? dependencies : []);
  }
  const run = builder.take();
  if (run === undefined) throw new TypeError("a run has at least one event");
  return run;
}

/** A run as gossip. */
export function gossip(id: GroupId, run: Run, epoch = 1): Message {
  const group = { key: encodeGroupId(id), type: gCounter.name, epoch };
  return { kind: "events", group, repaired: false, wants: "nothing", run: run.bytes };
}
