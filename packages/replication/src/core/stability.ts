import { VersionVector } from "@coppice/crdt";
import type { PeerId } from "../transport.ts";
import type { AntiEntropy } from "./anti-entropy.ts";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import type { Vector } from "./messages.ts";
import type { Peer } from "./peer.ts";

/** What asking the members came to. */
export interface StabilityReport {
  /** What every member knows: the least of all vectors. Undefined unless all answered, and nothing is unknown here. */
  readonly stable: VersionVector | undefined;
  /** Members that did not answer, or know events that this node does not. */
  readonly missing: readonly PeerId[];
}

interface Round {
  readonly group: Group;
  readonly left: Set<PeerId>;
  readonly vectors: Map<PeerId, VersionVector>;
  readonly done: (report: StabilityReport) => void;
}

/**
 * Causal stability under a closed membership (Baquero, Almeida, Shoker: "Making Operation-based CRDTs Operation-based",
 * 2014): an event that every member knows can no longer be concurrent with anything new. A report that this node's own
 * vector does not cover counts as missing: an event concurrent with a tombstone could still arrive.
 */
export class Stability {
  readonly #core: CoreContext;
  readonly #antiEntropy: AntiEntropy;
  readonly #rounds = new Set<Round>();

  constructor(core: CoreContext, antiEntropy: AntiEntropy) {
    this.#core = core;
    this.#antiEntropy = antiEntropy;
  }

  /** Asks the other members what they know of a group. Returns how to stop, which calls back with what is known then. */
  ask(group: Group, members: readonly PeerId[], done: Round["done"]): () => void {
    const round: Round = { group, left: new Set(members), vectors: new Map(), done };
    this.#rounds.add(round);
    for (const member of members) {
      const peer = this.#core.peers.get(member);
      if (peer !== undefined) this.#antiEntropy.ask(peer, group);
    }
    if (members.length === 0) this.#end(round);
    return () => this.#end(round);
  }

  /** A peer tells its vector, asked or not. */
  onVector(peer: Peer, { group: ref, intent, vector }: Vector): void {
    for (const round of this.#rounds) {
      const { group, left, vectors } = round;
      if (group.key !== ref.key || group.epoch !== ref.epoch || !left.has(peer.id)) continue;
      if (intent !== "answer") {
        // It may have set out before the round, and say less than is known there; or its sender has just come.
        this.#antiEntropy.ask(peer, group);
        continue;
      }
      // It knows more: what is missing here has just been asked for, so ask again once that is here.
      if (!group.vector.includes(vector)) continue;
      left.delete(peer.id);
      vectors.set(peer.id, vector);
      if (left.size === 0) this.#end(round);
    }
  }

  #end(round: Round): void {
    if (!this.#rounds.delete(round)) return;
    const missing = [...round.left];
    round.done({ stable: missing.length > 0 ? undefined : least(round.group.vector, round.vectors.values()), missing });
  }
}

function least(first: VersionVector, others: Iterable<VersionVector>): VersionVector {
  let stable = first.clone();
  for (const other of others) {
    const lower = new VersionVector();
    for (const [actor, seq] of stable) {
      const both = Math.min(seq, other.get(actor));
      if (both > 0) lower.set(actor, both);
    }
    stable = lower;
  }
  return stable;
}
