import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Input, chunksOf } from "./input.ts";
import type { Started } from "./messages.ts";
import { NodeHandle, type NodeWatcher } from "./node-handle.ts";

const NODES = 3;
/** Chunks that a node may be ahead of the slowest one while all have to be at work. */
const LEAD_MAX = 8;

/** Three nodes in processes of their own, and how far each may count. */
export class Cluster {
  readonly nodes: readonly NodeHandle[];
  /** What is being waited for, for the case that it never happens. */
  awaiting = "the input";
  readonly #folder: string;
  readonly #inputFile: string;
  readonly #input: Input;
  readonly #allowed = new Map<NodeHandle, number>();
  readonly #checks = new Set<() => void>();
  #limit = 0;
  #isInStep = true;

  /** @param folder where the nodes keep their data */
  constructor(input: Input, folder: string, watcher: NodeWatcher) {
    this.#input = input;
    this.#folder = folder;
    this.#inputFile = join(folder, "input.json");
    const onProgress = (node: NodeHandle): void => {
      watcher.onProgress(node);
      this.#pace();
      for (const check of this.#checks) check();
    };
    this.nodes = Array.from({ length: NODES }, (_, index) => {
      const name = `node-${index + 1}`;
      const share = { index, nodes: NODES };
      const config = { name, folder: join(folder, name), inputFile: this.#inputFile, share };
      return new NodeHandle(config, chunksOf(input, share), { ...watcher, onProgress });
    });
  }

  /** Starts all nodes and links each with all others. */
  async start(onStarted: (node: NodeHandle, started: Started) => void): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await writeFile(this.#inputFile, JSON.stringify(this.#input));
    this.awaiting = "the nodes to start";
    await Promise.all(this.nodes.map(async (node) => onStarted(node, await node.start())));
    this.awaiting = "the nodes to link with each other";
    // One of two dials the other; a link serves both.
    await Promise.all(
      this.nodes.map((node, index) => node.call("join", this.nodes.slice(0, index).flatMap(firstAddress))),
    );
  }

  /** Starts a node again that was killed; `join` links it with the others. */
  async restart(node: NodeHandle): Promise<Started> {
    this.awaiting = `${node.name} to recover`;
    this.#allowed.delete(node);
    return node.start();
  }

  /** Links a node with all others and lets it count. */
  async join(node: NodeHandle): Promise<void> {
    this.awaiting = `${node.name} to link with the others`;
    await node.call("join", this.nodes.filter((other) => other !== node).flatMap(firstAddress));
    this.#pace();
  }

  /**
   * Lets every node count this part of its share; `inStep`, with none far ahead of the others, so that all are at work
   * all the time.
   */
  allow(part: number, inStep: boolean): void {
    this.#limit = part;
    this.#isInStep = inStep;
    this.#pace();
  }

  /** Begins to measure on every node how long writes take to the others. */
  async beginPulse(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.call("beginPulse")));
  }

  /** Ends that; resolves to what all nodes have measured, in milliseconds. */
  async endPulse(): Promise<readonly number[]> {
    this.awaiting = "the nodes to end their measurement";
    return (await Promise.all(this.nodes.map((node) => node.call("endPulse")))).flat();
  }

  /** What is missing, and how far each node is. */
  describe(): string {
    const nodes = this.nodes.map(({ name, isRunning, progress, chunks }) => {
      return `${name} ${isRunning ? "has counted" : "does not run, and had counted"} ${progress.chunks} of ${chunks} chunks`;
    });
    return [this.awaiting, ...nodes].join("; ");
  }

  /** Resolves when a condition on the nodes' progress holds. */
  async until(what: string, holds: () => boolean): Promise<void> {
    this.awaiting = what;
    if (holds()) return;
    await new Promise<void>((resolve) => {
      const check = (): void => {
        if (!holds()) return;
        this.#checks.delete(check);
        resolve();
      };
      this.#checks.add(check);
    });
  }

  /** Kills every process that is left. */
  async kill(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
  }

  /** Closes every node. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  #pace(): void {
    const running = this.nodes.filter((node) => node.isRunning);
    const slowest = Math.min(...running.map((node) => node.progress.chunks));
    const lead = this.#isInStep ? slowest + LEAD_MAX : Infinity;
    for (const node of running) {
      const chunks = Math.min(lead, Math.floor(this.#limit * node.chunks));
      if (chunks <= (this.#allowed.get(node) ?? 0)) continue;
      this.#allowed.set(node, chunks);
      // Should it fail, the node's process has failed, and says so.
      node.call("allow", chunks).catch(() => {});
    }
  }
}

function firstAddress(node: NodeHandle): readonly string[] {
  return node.addresses.slice(0, 1);
}
