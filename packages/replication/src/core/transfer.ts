import type { Actor, HybridTime, VersionVector } from "@coppice/crdt";
import type { PeerId } from "../transport.ts";
import type { Run } from "./run.ts";

/** A run with where it came from. */
export interface FreshRun {
  readonly run: Run;
  /** The peer it came from; undefined for own events, and those of the own journal. */
  readonly source: PeerId | undefined;
  /** Whether it came by anti-entropy, not by gossip. */
  readonly repaired: boolean;
}

/** A state as peers exchange it. */
export interface StateTransfer {
  readonly vector: VersionVector;
  readonly frontier: readonly Actor[];
  readonly time: HybridTime;
  /** Whether `body` is complete; otherwise it is only what the receiver was thought to lack. */
  readonly whole: boolean;
  readonly body: Uint8Array;
}
