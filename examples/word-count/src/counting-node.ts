import { readFile } from "node:fs/promises";
import { type Node, createNode, formatGroupId } from "coppice";
import { levelStorage } from "coppice/level";
import { libp2pTransport } from "coppice/libp2p";
import { ChunkReader } from "./chunks.ts";
import { type Groups, openGroups, types } from "./groups.ts";
import { type Input, chunksOf } from "./input.ts";
import type { GroupState, LetterCounts, NodeApi, NodeConfig, Progress, Started } from "./messages.ts";
import { Pulse } from "./pulse.ts";
import { ShareCounter } from "./share-counter.ts";

/** Whom a node tells what happens on its own account. */
export interface NodeListener {
  onProgress(progress: Progress): void;
  onNotice(code: string, message: string): void;
  onFailure(error: unknown): void;
}

interface Running {
  readonly config: NodeConfig;
  readonly node: Node;
  readonly groups: Groups;
  readonly counter: ShareCounter;
}

/** One node of the cluster: a Coppice node, and what counts words into its groups. */
export class CountingNode implements NodeApi {
  readonly #listener: NodeListener;
  #running: Running | undefined;
  #pulse: Pulse | undefined;

  constructor(listener: NodeListener) {
    this.#listener = listener;
  }

  async start(config: NodeConfig): Promise<Started> {
    const node = await createNode({
      types,
      storage: levelStorage(config.folder),
      // A write is acknowledged, and sent to peers, when it stands in the journal: kills lose nothing.
      durability: "log",
      transport: libp2pTransport({
        // Only this machine can reach the node, so it admits every peer. On a real network, list peer ids here.
        listen: ["/ip4/127.0.0.1/tcp/0"],
        allow: "any",
      }),
      syncIntervalMs: 1_000,
      onNotice: ({ code, message }) => this.#listener.onNotice(code, message),
    });
    const report = await node.recover();
    const groups = await openGroups(node);
    await groups.starts.mutate((starts) => starts.increment());
    const counter = await this.#createCounter(config, groups);
    this.#running = { config, node, groups, counter };
    const { recovered, events, durationMs } = report;
    return {
      id: node.id,
      addresses: node.addresses(),
      recovered: { groups: recovered, events, durationMs, positions: counter.positions() },
    };
  }

  async join(addresses: readonly string[]): Promise<void> {
    const { node, counter } = this.#get();
    await Promise.all(addresses.map((address) => node.connect(address)));
    counter.run().catch((error: unknown) => this.#listener.onFailure(error));
  }

  async allow(chunks: number): Promise<void> {
    this.#get().counter.allow(chunks);
  }

  async beginPulse(): Promise<void> {
    const { config, groups } = this.#get();
    this.#pulse = new Pulse(groups.pulse, config.name);
  }

  async endPulse(): Promise<readonly number[]> {
    return (await this.#pulse?.stop()) ?? [];
  }

  async groupStates(): Promise<readonly GroupState[]> {
    const { groups } = this.#get();
    return [groups.starts, groups.pulse, ...groups.byLetter.values()].map((replica) => ({
      name: formatGroupId(replica.id),
      digest: replica.digest(),
      contentHash: replica.contentHash(),
    }));
  }

  async counts(letter: string): Promise<LetterCounts> {
    const replica = this.#get().groups.byLetter.get(letter);
    if (replica === undefined) throw new TypeError(`no group for ${letter}`);
    return replica.read(({ words, total }) => ({ total: total.get(), words: new Map(words.entries()) }));
  }

  async starts(): Promise<number> {
    return this.#get().groups.starts.value();
  }

  async stop(): Promise<void> {
    await this.#running?.node.close();
  }

  async #createCounter({ name, inputFile, share }: NodeConfig, { byLetter }: Groups): Promise<ShareCounter> {
    const input = JSON.parse(await readFile(inputFile, "utf8")) as Input;
    return new ShareCounter({
      node: name,
      reader: new ChunkReader(input),
      share,
      chunks: chunksOf(input, share),
      byLetter,
      onProgress: (progress) => this.#listener.onProgress(progress),
    });
  }

  #get(): Running {
    if (this.#running === undefined) throw new TypeError("the node is not started");
    return this.#running;
  }
}
