import type { VersionVector } from "@coppice/crdt";
import type { PeerId } from "../transport.ts";
import type { AntiEntropy } from "./anti-entropy.ts";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import type { Vector } from "./messages.ts";
import { isActorOf } from "./node-name.ts";
import type { Peer } from "./peer.ts";

/** A peer that was asked and says nothing for so long is passed over. */
const PATIENCE_MS = 1000;

/** A point in a group's history: these events of this epoch, and all that they depend on. */
export interface Point {
  readonly epoch: number;
  readonly vector: VersionVector;
}

/** Whether a group is at a point or beyond. A later epoch is beyond whatever an earlier one held. */
export function isReached(group: Group, { epoch, vector }: Point): boolean {
  if (group.epoch !== epoch) return group.epoch > epoch;
  return group.phase === "deleted" || (!group.isUnsettled && group.vector.includes(vector));
}

interface Waiting {
  readonly point: Point;
  /** A peer that is known to be there. */
  readonly source: PeerId | undefined;
  readonly done: () => void;
}

/** What is being done to bring one group up to date: one question at a time, whoever waits. */
interface Chase {
  readonly waiting: Set<Waiting>;
  /** Peers that were asked in this round and did not have it all. */
  readonly tried: Set<PeerId>;
  asked: PeerId | undefined;
  askedAt: number;
}

/**
 * Brings groups up to a point that a reader must see. Does not merely wait for gossip: asks a peer that is known to be
 * there, else the node that wrote what is missing, else any, one after the other, until the point is reached.
 */
export class CatchUp {
  readonly #core: CoreContext;
  readonly #antiEntropy: AntiEntropy;
  readonly #chases = new Map<Group, Chase>();

  constructor(core: CoreContext, antiEntropy: AntiEntropy) {
    this.#core = core;
    this.#antiEntropy = antiEntropy;
  }

  /** Calls `done` once the group is at the point, at once if it is. Returns how to stop. */
  reach(group: Group, point: Point, done: () => void, source?: PeerId): () => void {
    if (isReached(group, point)) {
      done();
      return () => {};
    }
    const waiting = { point, source, done };
    const chase = this.#chases.get(group) ?? { waiting: new Set(), tried: new Set(), asked: undefined, askedAt: 0 };
    this.#chases.set(group, chase);
    chase.waiting.add(waiting);
    if (chase.asked === undefined) this.#askNext(group, chase);
    return () => {
      chase.waiting.delete(waiting);
      if (chase.waiting.size === 0 && this.#chases.get(group) === chase) this.#chases.delete(group);
    };
  }

  /** The group may have moved on. */
  moved(group: Group): void {
    const chase = this.#chases.get(group);
    if (chase === undefined) return;
    for (const waiting of chase.waiting) {
      if (!isReached(group, waiting.point)) continue;
      chase.waiting.delete(waiting);
      waiting.done();
    }
    if (chase.waiting.size === 0) this.#chases.delete(group);
  }

  /** The end of an answer: what it did not bring is asked of the next peer. */
  onVector(peer: Peer, { group: ref, intent }: Vector): void {
    if (intent !== "answer" || this.#chases.size === 0) return;
    const group = this.#core.groups.get(ref.key);
    if (group === undefined) return;
    this.moved(group);
    const chase = this.#chases.get(group);
    if (chase?.asked === peer.id) this.#askNext(group, chase);
  }

  /** A peer has come: it may have what nobody had. */
  greet(): void {
    for (const [group, chase] of this.#chases) if (chase.asked === undefined) this.#askNext(group, chase);
  }

  /** Passes over peers that do not answer, and begins anew with those that lacked something themselves. */
  tick(): void {
    for (const [group, chase] of this.#chases) {
      const isWaiting = chase.asked !== undefined && this.#core.peers.has(chase.asked);
      if (isWaiting && this.#core.now() - chase.askedAt < PATIENCE_MS) continue;
      if (chase.asked === undefined) chase.tried.clear();
      this.#askNext(group, chase);
    }
  }

  #askNext(group: Group, chase: Chase): void {
    const peer = this.#bestPeer(group, chase);
    chase.asked = peer?.id;
    if (peer === undefined) return;
    chase.tried.add(peer.id);
    chase.askedAt = this.#core.now();
    this.#antiEntropy.ask(peer, group);
  }

  #bestPeer(group: Group, { waiting, tried }: Chase): Peer | undefined {
    const peers = [...this.#core.peers.values()].filter(
      (peer) => peer.isInterestedIn(group.domain) && !tried.has(peer.id),
    );
    for (const { source } of waiting) {
      const known = peers.find(({ id }) => id === source);
      if (known !== undefined) return known;
    }
    for (const { point } of waiting) {
      for (const [actor, seq] of point.vector) {
        const writer = group.vector.get(actor) < seq ? peers.find(({ id }) => isActorOf(actor, id)) : undefined;
        if (writer !== undefined) return writer;
      }
    }
    return peers[0];
  }
}
