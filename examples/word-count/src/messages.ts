/** What the parent process and the node processes tell each other. */
import type { Share } from "./input.ts";

/** What a node process does when asked to. */
export interface NodeApi {
  /** Starts the node and recovers what it has stored. */
  start(config: NodeConfig): Promise<Started>;
  /** Links to other nodes, and begins to count. */
  join(addresses: readonly string[]): Promise<void>;
  /** Lets the node count its share up to this chunk, and no further. */
  allow(chunks: number): Promise<void>;
  /** Begins to write the time into the pulse group, again and again. */
  beginPulse(): Promise<void>;
  /** Ends that; resolves to how long the writes of other nodes took to be seen here, in milliseconds. */
  endPulse(): Promise<readonly number[]>;
  groupStates(): Promise<readonly GroupState[]>;
  counts(letter: string): Promise<LetterCounts>;
  starts(): Promise<number>;
  stop(): Promise<void>;
}

export interface NodeConfig {
  readonly name: string;
  /** Where the node keeps its data. */
  readonly folder: string;
  /** A file with the `Input`, as JSON. */
  readonly inputFile: string;
  readonly share: Share;
}

export interface Started {
  /** The node's peer id. */
  readonly id: string;
  readonly addresses: readonly string[];
  readonly recovered: Recovered;
}

/** What a node found in its own storage. */
export interface Recovered {
  readonly groups: number;
  readonly events: number;
  readonly durationMs: number;
  /** The node's own position in each letter group: how many chunks of its share are counted there. */
  readonly positions: readonly number[];
}

/** How far a node is. All of it is acknowledged: it stands in the node's journal. */
export interface Progress {
  /** Chunks of the share that are counted, by earlier processes of the node too. */
  readonly chunks: number;
  /** Atomic writes of this process, and the counter increments in them. */
  readonly writes: number;
  readonly increments: number;
}

/** What a node has of a group. */
export interface GroupState {
  readonly name: string;
  readonly digest: string;
  readonly contentHash: string;
}

export interface LetterCounts {
  readonly total: number;
  readonly words: ReadonlyMap<string, number>;
}

export interface CallMessage {
  readonly kind: "call";
  readonly id: number;
  readonly method: keyof NodeApi;
  readonly args: readonly unknown[];
}

export type NodeMessage =
  | { readonly kind: "result"; readonly id: number; readonly result: unknown }
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "notice"; readonly code: string; readonly message: string }
  /** The node cannot go on. With an id, a call failed. */
  | { readonly kind: "failed"; readonly id?: number; readonly message: string };
