import { type VersionVector, actorNode } from "@coppice/crdt";
import type { DomainIndex } from "./domain-index.ts";
import { UNSEEN } from "./group-rows.ts";
import type { Group } from "./group.ts";
import type { Run } from "./run.ts";

/**
 * Which own writes no peer is known to have, so that they are not dropped with an epoch that a peer has left. It errs on
 * one side only: what may be nowhere else counts as unseen.
 *
 * A peer has shown that it has a group's own writes when it told a vector that covers them, acknowledged the last, or
 * had the same sum of the whole domain.
 */
export class UnseenWrites {
  readonly #node: string;
  readonly #domains: () => ReadonlyMap<string, DomainIndex>;
  /** Domains of which a peer had everything once in this process. */
  readonly #seenDomains = new Set<string>();
  /** What the node that deleted a group knew of it, for groups deleted in this process. */
  readonly #deleted = new Map<string, VersionVector>();

  /** @param node the part of this node's actors that names it */
  constructor(node: string, domains: () => ReadonlyMap<string, DomainIndex>) {
    this.#node = node;
    this.#domains = domains;
  }

  /** Own events of a group have left this node. */
  wrote(group: Group, run: Run): void {
    group.isUnseen = true;
    group.server?.incarnation.published(run.actor, run.lastSeq);
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
    this.#domains().get(domain)?.clear(UNSEEN);
    this.#seenDomains.add(domain);
  }

  #saw(group: Group): void {
    group.isUnseen = false;
    group.wasSeen = true;
  }

  /** The group enters another epoch; `former` is what was known of the one that ends, here or by who ended it. */
  leaves(group: Group, former: VersionVector | undefined): void {
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
    if (group.isUnseen || group.server?.incarnation.hasUnpublished === true) return false;
    return group.wasSeen || this.#seenDomains.has(group.domain);
  }
}
