import { type VersionVector, actorNode } from "@coppice/crdt";
import type { Group } from "./group.ts";

/**
 * Which own writes no peer is known to have, so that they are not dropped with an epoch that a peer has left. It errs on
 * one side only: what may be nowhere else counts as unseen.
 *
 * A peer has shown that it has a group's own writes when it told a vector that covers them, acknowledged the last, or
 * had the same sum of the whole domain.
 */
export class UnseenWrites {
  readonly #node: string;
  /** Groups written to since a peer last showed that it has it all, by key, with their domains. */
  readonly #written = new Map<string, string>();
  /** The last own event of each group that has left this node. */
  readonly #published = new Map<string, number>();
  /** Groups and domains of which a peer had everything once in this process. */
  readonly #seen = new Map<string, string>();
  readonly #seenDomains = new Set<string>();
  /** What the node that deleted a group knew of it, for groups deleted in this process. */
  readonly #deleted = new Map<string, VersionVector>();

  /** @param node the part of this node's actors that names it */
  constructor(node: string) {
    this.#node = node;
  }

  /** Own events up to `seq` have left this node. */
  wrote(group: Group, seq: number): void {
    this.#written.set(group.key, group.domain);
    this.#published.set(group.key, seq);
  }

  /** A peer told its vector of the group, in this epoch. */
  told(group: Group, vector: VersionVector): void {
    if (this.#isSeen(group)) return;
    for (const [actor, seq] of group.vector) {
      if (actorNode(actor) === this.#node && vector.get(actor) < seq) return;
    }
    this.#saw(group);
  }

  /** A peer acknowledged an event of this process. */
  acknowledged(group: Group, seq: number): void {
    if (seq >= (group.server?.incarnation.seq ?? Number.POSITIVE_INFINITY)) this.#saw(group);
  }

  /** A peer has the same of a whole domain. */
  sawDomain(domain: string): void {
    for (const [key, of] of this.#written) if (of === domain) this.#written.delete(key);
    for (const [key, of] of this.#seen) if (of === domain) this.#seen.delete(key);
    this.#seenDomains.add(domain);
  }

  #saw(group: Group): void {
    this.#written.delete(group.key);
    if (!this.#seenDomains.has(group.domain)) this.#seen.set(group.key, group.domain);
  }

  /** The group enters another epoch; `former` is what was known of the one that ends, here or by who ended it. */
  leaves(group: Group, former: VersionVector | undefined): void {
    this.#written.delete(group.key);
    this.#published.delete(group.key);
    this.#seen.delete(group.key);
    if (group.phase === "deleted" && former !== undefined) this.#deleted.set(group.key, former);
    else this.#deleted.delete(group.key);
  }

  /** What whoever deleted the group knew, as far as that is remembered: told to peers in place of a tombstone's vector. */
  deleted(group: Group): VersionVector | undefined {
    return this.#deleted.get(group.key);
  }

  /** How many own writes of the group neither a peer is known to have, nor whoever superseded it knew (`theirs`). */
  count(group: Group, theirs: VersionVector | undefined): number {
    if (this.#isSeen(group)) return 0;
    let events = 0;
    for (const [actor, seq] of group.vector) {
      if (actorNode(actor) === this.#node) events += Math.max(0, seq - (theirs?.get(actor) ?? 0));
    }
    return events;
  }

  #isSeen(group: Group): boolean {
    if (this.#written.has(group.key)) return false;
    const { seq } = group.server?.incarnation ?? { seq: 0 };
    // Written, and not yet committed.
    if (seq > (this.#published.get(group.key) ?? 0)) return false;
    return this.#seen.has(group.key) || this.#seenDomains.has(group.domain);
  }
}
