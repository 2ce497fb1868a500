import { type AnyCrdtType, gCounter, lwwMap, lwwRegister, orMap, struct } from "@coppice/crdt";
import { expect } from "vitest";
import { type MemoryNetwork, type MemoryNetworkOptions, createMemoryNetwork } from "./memory-transport.ts";
import { type Node, createNode } from "./node.ts";
import type { NodeOptions, Notice } from "./node-options.ts";

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
